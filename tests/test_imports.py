"""The imports of the package point one way, along the line of rooms below: a tour of the syntax trees.

A room may import the rooms to its left, itself, and nothing to its right; deferred imports inside functions
count like the others.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'gfvideo'
LINE = (
    'files',
    'home',
    'usage',
    'progress',
    'registry',
    'structures',
    'measuring',
    'weights',
    'ops',
    'data',
    'models',
    'exits',
    'complexity',
    'evaluation',
    'visualization',
    'engine',
    'conversion',
    'deployment',
    'apis',
    'hub',
    'watching',
    'inferencer',
    'look',
    'report',
    'cli',
    '__main__',
)
PYTHON_ALONE = ('files',)  # they import nothing but the standard library
TORCH_ALONE = ('ops', 'exits')  # rooms that another project can take out, with those of PYTHON_ALONE
OUTSIDE = ('tools', 'data_prep', 'configs', 'tests')  # they import gfvideo, never the other way round
# the core of setup.cfg
THIRD_PARTY = {'torch', 'numpy', 'einops', 'mmengine', 'av', 'decord', 'cv2', 'matplotlib', 'PIL', 'rich'}
# the extras of setup.cfg
OPTIONAL = {
    'torchcodec',
    'timm',
    'torchvision',
    'onnx',
    'onnxruntime',
    'onnxscript',
    'fsspec',
    'imageio_ffmpeg',
    'safetensors',
    'huggingface_hub',
    'plotly',
    'jinja2',
}


def imported_modules(source: str, module: str, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that ``source``, the text of ``module``, imports, wherever in the
    file it does."""
    parts = module.split('.')
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = parts[: len(parts) - node.level + is_package] if node.level else []
            base = '.'.join(here + ([node.module] if node.module else []))
            # the names of `from gfvideo import x` are rooms; the names of `from gfvideo.ops import x` are not
            yield from (
                (node.lineno, f'{base}.{alias.name}' if base == 'gfvideo' else base) for alias in node.names
            )
        elif (
            isinstance(node, ast.Call)
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, str)
        ):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, 'id', '')
            if name in ('import_module', '__import__'):
                yield node.lineno, node.args[0].value


def room_of(module: str) -> str:
    """'gfvideo.models.encoder' -> 'models'; 'gfvideo' -> ''."""
    return (module.split('.') + [''])[1]


def wrong_arrow(module: str, target: str) -> str | None:
    """Why ``module`` must not import ``target``, or None if it may."""
    room, top = room_of(module), target.split('.')[0]
    if top in OUTSIDE:
        return f'the package imports {top}/, which stands outside it'
    if top == 'gfvideo':
        into = room_of(target)
        if into in ('', '__version__') or into == room:
            return None
        if room == '':
            return 'gfvideo/__init__.py imports a room, so that no room can be used without all it needs'
        if into not in LINE or room not in LINE:
            return (
                f'{room} or {into} has no place on the line of imports; give it one in {Path(__file__).name}'
            )
        if room in TORCH_ALONE and into not in PYTHON_ALONE:
            return f'{room}/ imports torch alone'
        return f'points right: {room} -> {into}' if LINE.index(into) > LINE.index(room) else None
    if top in sys.stdlib_module_names:
        return None
    if room in PYTHON_ALONE:
        return f'{room} imports the standard library alone'
    if room in TORCH_ALONE and top != 'torch':
        return f'{room}/ imports torch alone'
    return None


def module_name(path: Path) -> str:
    name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    return name.removesuffix('.__init__')


def faults(source: str, module: str, is_package: bool = False) -> list[str]:
    found = (
        (line, target, wrong_arrow(module, target))
        for line, target in imported_modules(source, module, is_package)
    )
    return [f'{module}:{line} imports {target}: {why}' for line, target, why in found if why]


FILES = sorted(PACKAGE.rglob('*.py'))


def test_imports_point_left():
    assert FILES
    wrong = [
        fault
        for path in FILES
        for fault in faults(path.read_text(encoding='utf-8'), module_name(path), path.name == '__init__.py')
    ]
    assert not wrong, '\n'.join(wrong)


def top_level_imports(tree: ast.Module) -> Iterator[ast.stmt]:
    """Import statements that run whenever the module is imported: outside functions, and outside try and
    if."""
    return (node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))


def test_libraries_are_declared():
    undeclared = []
    for path in FILES:
        source = path.read_text(encoding='utf-8')
        for line, target in imported_modules(source, module_name(path), path.name == '__init__.py'):
            top = target.split('.')[0]
            if top not in THIRD_PARTY | OPTIONAL | {'gfvideo'} and top not in sys.stdlib_module_names:
                undeclared.append(
                    f'{path.relative_to(ROOT)}:{line} imports {top}, which setup.cfg does not ask for'
                )
        for node in top_level_imports(ast.parse(source)):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module]
                if node.level == 0
                else []
            )
            for top in {name.split('.')[0] for name in names} & OPTIONAL:
                undeclared.append(
                    f'{path.relative_to(ROOT)}:{node.lineno} imports {top} on top; it is optional, so inside'
                    ' a function'
                )
    assert not undeclared, '\n'.join(undeclared)


@pytest.mark.parametrize('room', TORCH_ALONE)
def test_room_loads_without_mmengine(room):
    if not (PACKAGE / room / '__init__.py').exists():
        pytest.skip(f'gfvideo/{room} is not built yet')
    code = (
        f'import gfvideo.{room}, sys; assert not {{"mmengine", "cv2", "av"}} & set(sys.modules),'
        ' sorted(sys.modules)'
    )
    run = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=1500)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ('module', 'source', 'why'),
    [
        ('gfvideo.data.readers', 'from ..models import Encoder', 'points right: data -> models'),
        ('gfvideo.data.readers', 'import gfvideo.engine.stages', 'points right: data -> engine'),
        ('gfvideo.data.readers', 'from gfvideo import apis', 'points right: data -> apis'),
        (
            'gfvideo.data.readers',
            'def late():\n    from ..visualization.patches import draw',
            'points right: data -> visualization',
        ),
        (
            'gfvideo.data.readers',
            'import importlib\nimportlib.import_module("gfvideo.models")',
            'points right: data -> models',
        ),
        (
            'gfvideo.evaluation',
            'from ..visualization import curves',
            'points right: evaluation -> visualization',
        ),
        ('gfvideo.models.backbones.resnet', 'from ...engine import stages', 'points right: models -> engine'),
        ('gfvideo.ops.shift', 'import numpy', 'torch alone'),
        ('gfvideo.ops.shift', 'from ..registry import MODELS', 'torch alone'),
        ('gfvideo.exits.replay', 'from mmengine import Config', 'torch alone'),
        ('gfvideo.files', 'import numpy', 'standard library alone'),
        ('gfvideo.files', 'from .registry import MODELS', 'points right: files -> registry'),
        ('gfvideo.apis', 'from tools.train import main', 'outside'),
        ('gfvideo.data', 'import data_prep.common', 'outside'),
        ('gfvideo.attic', 'from .ops import shift', 'no place'),
        ('gfvideo', 'from .apis import init_recognizer', '__init__'),
    ],
)
def test_checker_catches_a_planted_arrow(module, source, why):
    (fault,) = faults(source, module, is_package=module in ('gfvideo', 'gfvideo.data', 'gfvideo.evaluation'))
    assert why in fault


@pytest.mark.parametrize(
    ('module', 'source'),
    [
        (
            'gfvideo.ops.shift',
            (
                'from __future__ import annotations\nimport math\nfrom torch import nn\nfrom .crop import'
                ' crop_patches'
            ),
        ),
        (
            'gfvideo.models.encoder',
            (
                'from ..ops import bidirectional_shift\nfrom ..registry import MODELS\nfrom .temporal import'
                ' insert_shift'
            ),
        ),
        (
            'gfvideo.models.backbones.resnet',
            'from ..temporal import insert_shift\nfrom ...registry import MODELS',
        ),
        (
            'gfvideo.engine.stages',
            'from mmengine import Config\nfrom gfvideo import models\nimport gfvideo.evaluation',
        ),
        ('gfvideo.exits.file', 'import json\nfrom ..files import write_atomically'),
        ('gfvideo.files', 'import os'),
        ('gfvideo.apis', 'from . import __version__\nfrom .engine.stages import expand_stages'),
    ],
)
def test_checker_lets_good_arrows_pass(module, source):
    assert faults(source, module) == []
