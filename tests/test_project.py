"""What the whole repository keeps to: no trace of a machine, one vocabulary, tools that answer, configs that
build, true docs."""

from __future__ import annotations

import ast
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UNTRACKED = re.compile(
    r'\.git/|\.venv|\.hypothesis/|\.\w+_cache/|work_dirs/|data/|build/|dist/|(?:.*/)?(?:__pycache__|[\w.-]+\.egg-info)/'
)


def project_files() -> list[Path]:
    """The files that are tracked or would be; without git, all but what .gitignore is for."""
    if (ROOT / '.git').exists() and shutil.which('git'):
        listed = subprocess.run(
            ['git', 'ls-files', '--cached', '--others', '--exclude-standard', '-z'],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=1500,
        )
        if listed.returncode == 0:
            return sorted(
                ROOT / name for name in set(listed.stdout.split('\0')) if name and (ROOT / name).is_file()
            )
    return sorted(
        path
        for path in ROOT.rglob('*')
        if path.is_file() and not UNTRACKED.match(path.relative_to(ROOT).as_posix())
    )


def text_of(path: Path) -> str:
    """The text of a file, '' for a picture or video."""
    try:
        return path.read_text(encoding='utf-8')
    except UnicodeDecodeError:
        return ''


# --------------------------------------------------------------------------------------- nothing of a machine

# written in pieces, so that this file does not find itself
FOLDERS = ('work', 'opt', 'root', 'home', 'tmp', 'mnt', 'Users', 'scratch')
MACHINE_PATH = re.compile(r'(?<![\w.~}$)*/-])/(?:' + '|'.join(FOLDERS) + r')(?=/\w)')
HOSTS = (
    r'pypi\.' + 'org',
    'python' + r'hosted\.',
    r'pytorch\.org/' + 'whl',
    r'registry\.' + 'npmjs',
    r'proxy\.' + 'golang',
    r'crates\.' + r'io\b',
    r'deb\.' + 'debian',
    r'archive\.' + 'ubuntu',
    r'conda\.' + 'anaconda',
    r'(?:^|[^\d.])(?:10(?:\.\d{1,3}){3}|192\.168(?:\.\d{1,3}){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2})(?![\d.])',
)
REGISTRY_HOST = re.compile('|'.join(HOSTS))


def machine_traces(text: str) -> list[str]:
    return [
        f'{number}: {line.strip()[:120]}'
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line) or REGISTRY_HOST.search(line)
    ]


def test_no_machine_paths_and_no_registry_hosts():
    found = {
        str(path.relative_to(ROOT)): traces
        for path in project_files()
        if (traces := machine_traces(text_of(path)))
    }
    assert not found, json.dumps(found, indent=1)


@pytest.mark.parametrize(
    ('line', 'caught'),
    [
        ('root = ' + '/ho' + 'me/someone/data', True),
        ('cd ' + '/wo' + 'rk/main', True),
        ('https://' + 'pypi.' + 'org/simple', True),
        ('index at ' + '10.' + '1.2.3:80', True),
        ("root = 'data/sthv2'", False),
        ('work_dirs/tmp/run', False),
        ('#!/usr/bin/env bash', False),
        ('versions 0.10.7 and 5.0.0.93', False),
        ('--data-root ${ROOT}/home/x', False),
    ],
)
def test_trace_checker(line, caught):
    assert bool(machine_traces(line)) == caught


# --------------------------------------------------------------------------------------------- one vocabulary

SYNONYMS = {  # identifier -> what the project says instead
    'segment': 'frame',
    'segments': 'frames',
    'n_segment': 'frames.shape[1]',
    'n_segments': 'frames.shape[1]',
    'num_segment': 'frames.shape[1]',
    'num_segments': 'frames.shape[1]',
    'num_seg': 'frames.shape[1]',
    'num_segs': 'frames.shape[1]',
    'num_clips': 'num_views',
    'n_clips': 'num_views',
    'clip_len': 'num_frames',
    'clip_length': 'num_frames',
    'gflops': 'gmacs',
    'flops': 'macs',
}


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of the variables, arguments, attributes, keywords, functions and classes of a syntax tree;
    strings are free."""
    for node in ast.walk(tree):
        line = getattr(node, 'lineno', 0)
        for field in ('id', 'arg', 'attr', 'name', 'asname'):
            if isinstance(name := getattr(node, field, None), str) and not isinstance(node, ast.alias):
                yield line, name


def test_one_vocabulary():
    found = [
        f'{path.relative_to(ROOT)}:{line} says {name!r}; here it is {SYNONYMS[name]!r}'
        for path in sorted((ROOT / 'gfvideo').rglob('*.py'))
        for line, name in identifiers(ast.parse(text_of(path)))
        if name in SYNONYMS
    ]
    assert not found, '\n'.join(found)


def test_vocabulary_checker():
    tree = ast.parse('def f(num_clips):\n    sampler = "segment"\n    return g(num_segs=x.segments)')
    assert {name for _, name in identifiers(tree)} & set(SYNONYMS) == {'num_clips', 'num_segs', 'segments'}


COUNTS_ON_DISK = {'ClipRow'}  # classes whose fields are the keys of files


def counts_called_frames(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Numbers of frames that are called ``frames``, the word for the frames themselves."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name in COUNTS_ON_DISK:
            for inner in ast.walk(node):
                inner.on_disk = True
    for node in ast.walk(tree):
        name = getattr(node, 'arg', None) or getattr(getattr(node, 'target', None), 'id', None)
        annotation = getattr(node, 'annotation', None)
        if name == 'frames' and annotation is not None and not hasattr(node, 'on_disk'):
            if {'int'} <= {getattr(part, 'id', None) for part in ast.walk(annotation)}:
                yield node.lineno, name


def test_a_number_of_frames_is_num_frames():
    allowed = {('gfvideo/data/transforms.py', 'frames')}  # the key of earlier configs, still read
    found = [
        f'{path.relative_to(ROOT)}:{line} calls a number of frames {name!r}; here it is num_frames'
        for path in sorted((ROOT / 'gfvideo').rglob('*.py'))
        for line, name in counts_called_frames(ast.parse(text_of(path)))
        if (path.relative_to(ROOT).as_posix(), name) not in allowed
    ]
    assert not found, '\n'.join(found)


def test_counts_checker():
    source = (
        'class ClipRow:\n    frames: int\nclass A:\n    frames: int | None = None\ndef f(frames: Tensor): ...'
    )
    assert [line for line, _ in counts_called_frames(ast.parse(source))] == [4]


def types_defined(tree: ast.Module) -> Iterator[str]:
    """Public classes and aliases of types of a module."""
    for node in tree.body:
        names = [node.name] if isinstance(node, ast.ClassDef) else []
        if isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        yield from (name for name in names if re.fullmatch(r'[A-Z]\w*[a-z]\w*', name))


def test_no_two_types_have_one_name():
    homes: dict[str, list[str]] = {}
    for path in sorted((ROOT / 'gfvideo').rglob('*.py')):
        for name in types_defined(ast.parse(text_of(path))):
            homes.setdefault(name, []).append(path.relative_to(ROOT).as_posix())
    assert not {name: files for name, files in homes.items() if len(files) > 1}


# ------------------------------------------------------------------------------------- contracts, not guesses

# they stand on what a Recognizer declares, so one that is written from it alone works in all of them
ASKING_NOBODY = ['complexity.py', 'engine/exiting.py', 'engine/identity.py', 'engine/predictions.py']
ASKING_NOBODY += [
    'engine/policy_loop.py',
    'models/stream.py',
    'models/base.py',
    'exits',
    'deployment',
    'conversion',
]
MODELS = {
    'model',
    'recognizer',
    'self.model',
    'self.recognizer',
    'own',
    'look.model',
    'net',
    'encoder',
    'backbone',
}


def asked_of_models(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Calls of hasattr and getattr on what is named as models are."""
    for node in ast.walk(tree):
        name = getattr(getattr(node, 'func', None), 'id', '')
        if name in ('hasattr', 'getattr') and ast.unparse(node.args[0]) in MODELS:
            yield node.lineno, ast.unparse(node)


def test_nobody_guesses_what_a_model_has():
    paths = [ROOT / 'gfvideo' / name for name in ASKING_NOBODY]
    assert all(path.exists() for path in paths)
    found = [
        f'{file.relative_to(ROOT)}:{line}: {call}; let the Recognizer declare it'
        for path in paths
        for file in sorted(path.rglob('*.py') if path.is_dir() else [path])
        for line, call in asked_of_models(ast.parse(text_of(file)))
    ]
    assert not found, '\n'.join(found)


def test_guess_checker():
    tree = ast.parse(
        "hasattr(model, 'focus') or getattr(self.model, name) or hasattr(part, 'x') or model.steps"
    )
    assert len(list(asked_of_models(tree))) == 2


# ------------------------------------------------------------------------------ tests through public names


def private_names(rooms: Sequence[str]) -> set[str]:
    """Names with one leading underscore that the package and the scripts define."""
    names: set[str] = set()
    for room in rooms:
        for path in (ROOT / room).rglob('*.py'):
            for node in ast.walk(ast.parse(text_of(path))):
                name = getattr(node, 'name', None) or getattr(node, 'attr', None)
                stored = isinstance(getattr(node, 'ctx', None), ast.Store)
                if isinstance(node, ast.FunctionDef | ast.ClassDef) or stored:
                    names.add(name or getattr(node, 'id', ''))
    return {name for name in names if re.fullmatch(r'_[a-z]\w*', name)}


def private_uses(tree: ast.AST, private: set[str]) -> Iterator[tuple[int, str]]:
    """Imports of private names, attributes that are asked of others, and names in patches."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in private)
        elif isinstance(node, ast.Attribute) and node.attr in private and ast.unparse(node.value) != 'self':
            yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, 'attr', '') in (
            'setattr',
            'delattr',
            'object',
        ):
            yield from (
                (node.lineno, arg.value)
                for arg in node.args
                if isinstance(arg, ast.Constant) and arg.value in private
            )


def test_tests_use_public_names():
    private = private_names(['gfvideo', 'data_prep', 'tools'])
    # of mmengine, which have no public name
    private -= {'_iter', '_epoch', '_cfg_dict', '_module_dict', '_is_init', '_init_weights'}
    found = [
        f'{path.relative_to(ROOT)}:{line} uses {name}'
        for path in sorted((ROOT / 'tests').rglob('*.py'))
        for line, name in private_uses(ast.parse(text_of(path)), private)
    ]
    assert not found, '\n'.join(found)


def test_private_names_checker():
    tree = ast.parse("from a import _b\nx._c\nself._c\npatch.setattr(x, '_b', 1)\ny._d")
    assert sorted(private_uses(tree, {'_b', '_c'})) == [(1, '_b'), (2, '_c'), (4, '_b')]


# ---------------------------------------------------------------------------------------------- tools, --help


def runs_as_script(path: Path) -> bool:
    return "__name__ == '__main__'" in text_of(path)


TOOLS = sorted([*(ROOT / 'tools').rglob('*.py'), *filter(runs_as_script, (ROOT / 'data_prep').rglob('*.py'))])
SHELL_TOOLS = sorted((ROOT / 'tools').rglob('*.sh'))

# all in one process, because importing torch anew for each would take most of a minute; each finds its own
# folder first on the path
ASK_FOR_HELP = """
import contextlib, io, json, runpy, sys, traceback
answers = {}
for tool in sys.argv[1:]:
    said, path, main = io.StringIO(), list(sys.path), sys.modules['__main__']
    sys.path[0], argv, sys.argv = tool.rpartition('/')[0], sys.argv, [tool, '--help']
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            runpy.run_path(tool, run_name='__main__')
        code = 'went on after --help'
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        code = traceback.format_exc()
    answers[tool] = [code, said.getvalue()]
    sys.path[:], sys.argv, sys.modules['__main__'] = path, argv, main
print(json.dumps(answers))
"""


@pytest.fixture(scope='module')
def help_answers(tmp_path_factory) -> dict[str, list]:
    elsewhere = tmp_path_factory.mktemp('elsewhere')
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    run = subprocess.run(
        [sys.executable, '-c', ASK_FOR_HELP, *map(str, TOOLS)],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize('tool', TOOLS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tool_answers_help(tool, help_answers):
    code, said = help_answers[str(tool)]
    assert code == 0, f'{code}\n{said}'
    assert 'usage:' in said


@pytest.mark.parametrize('tool', SHELL_TOOLS, ids=lambda path: str(path.relative_to(ROOT)))
def test_shell_tool_is_sound(tool):
    assert os.access(tool, os.X_OK), f'{tool.name} is not executable: chmod +x'
    checked = subprocess.run(['bash', '-n', str(tool)], capture_output=True, text=True, timeout=1500)
    assert checked.returncode == 0, checked.stderr


# ---------------------------------------------------------------------------------------------------- configs

CONFIGS = sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)


def without_pretrained(cfg):
    """A copy of a model config without the weights that would be loaded from elsewhere."""
    if isinstance(cfg, dict):
        kept = (
            (key, value)
            for key, value in cfg.items()
            if not (key == 'init_cfg' and 'Pretrained' in str(value))
        )
        return {key: without_pretrained(value) for key, value in kept}
    return [without_pretrained(value) for value in cfg] if isinstance(cfg, list | tuple) else cfg


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: str(path.relative_to(ROOT / 'configs')))
def test_config_builds(path, tmp_path, monkeypatch):
    import torch

    from gfvideo.engine import expand_stages, load_config
    from gfvideo.registry import MODELS, TRANSFORMS

    monkeypatch.chdir(tmp_path)
    cfg = load_config(path)
    built = {}
    for stage in expand_stages(cfg):
        model = without_pretrained(stage.cfg.model.to_dict())
        if model['num_classes'] is None:  # that of a prepared dataset
            model['num_classes'] = 3
        if json.dumps(model, default=str, sort_keys=True) not in built:
            with torch.device('meta'):  # parts and their settings, without drawing weights
                built[json.dumps(model, default=str, sort_keys=True)] = MODELS.build(model)
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            for step in stage.cfg.get(loader, {}).get('dataset', {}).get('pipeline', []):
                TRANSFORMS.build(step.to_dict())
    assert all(sum(p.numel() for p in model.parameters()) for model in built.values())


DATASETS = sorted((ROOT / 'configs' / '_base_' / 'datasets').glob('*.py'))


@pytest.mark.parametrize('path', DATASETS, ids=lambda path: path.stem)
def test_dataset_config_says_where_its_clips_are_and_how_to_prepare_them(path, monkeypatch):
    from gfvideo.engine import expand_stages, load_config
    from gfvideo.registry import TRANSFORMS

    variable = re.search(r'\{\{\$(GFVIDEO_\w+):', text_of(path))[1]
    assert [other.stem for other in DATASETS if f'${variable}:' in text_of(other)] == [path.stem]
    monkeypatch.setenv(variable, 'elsewhere/clips')
    ((_, cfg),) = expand_stages(load_config(path))
    for loader, split in (
        ('train_dataloader', 'train'),
        ('val_dataloader', 'val'),
        ('test_dataloader', None),
    ):
        dataset = cfg[loader].dataset
        assert dataset.root == 'elsewhere/clips' and split in (None, dataset.split)
        if path.stem != 'toy':
            script = re.match(r'python (data_prep/\w+\.py) .*--out elsewhere/clips$', dataset.prepare)[1]
            assert (ROOT / script).is_file()
        for step in dataset.pipeline:
            TRANSFORMS.build(step.to_dict())


# ---------------------------------------------------------------------------------------- packaging and pages


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / 'setup.cfg', encoding='utf-8')
    return parser


def names_of(requirements: str) -> set[str]:
    return {
        re.match(r'[\w.-]+', line).group().lower()
        for line in requirements.splitlines()
        if line and not line.startswith('#')
    }


def test_constraints_pin_every_requirement():
    pins = dict(
        line.split('==')
        for line in text_of(ROOT / 'constraints.txt').splitlines()
        if line and not line.startswith('#')
    )
    parser = setup_cfg()
    asked = names_of(parser['options']['install_requires']).union(
        *map(names_of, parser['options.extras_require'].values())
    )
    assert not asked - set(pins), 'constraints.txt pins no version of these'
    assert pins['torch'] == '2.13.0'


def test_every_core_requirement_has_its_reason():
    lines = (
        (ROOT / 'setup.cfg')
        .read_text(encoding='utf-8')
        .split('install_requires =')[1]
        .split('\n[')[0]
        .splitlines()
    )
    lines = [line.strip() for line in lines if line.strip()]
    for before, line in zip([''] + lines, lines, strict=False):
        assert line.startswith('#') or before.startswith('#'), (
            f'{line} stands in setup.cfg without the line that says what it is for'
        )


def code_blocks(page: str, language: str = '') -> list[str]:
    return re.findall(rf'^```{language}[^\n]*\n(.*?)^```', page, flags=re.DOTALL | re.MULTILINE)


def test_readme_test_command_is_what_ci_runs():
    in_readme = {
        line.split('#')[0].strip()
        for block in code_blocks(text_of(ROOT / 'README.md'))
        for line in block.splitlines()
    }
    ci = [line.strip() for line in text_of(ROOT / '.ci' / 'run').splitlines()]
    assert 'make test' in in_readme and 'make test' in ci


PAGES = sorted([ROOT / 'README.md', *(ROOT / 'docs').rglob('*.md')])


@pytest.mark.parametrize('page', PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r'^```.*?^```', '', text_of(page), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if not re.match(r'[a-z]+:|#', target):
            assert (page.parent / target.split('#')[0]).exists(), (
                f'{page.name} links to {target}, which is not there'
            )


MENTIONED = re.compile(
    r'(?<![\w/.-])((?:tools|configs|docs|data_prep|gfvideo|tests)/[\w/.-]*\w\.(?:py|sh|md))'
)


@pytest.mark.parametrize('page', PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_pages_name_are_there(page):
    missing = sorted({name for name in MENTIONED.findall(text_of(page)) if not (ROOT / name).exists()})
    assert not missing, f'{page.name} names files that are not there: {missing}'


def test_the_linter_skips_no_file_of_the_project():
    shown = subprocess.run(
        [sys.executable, '-m', 'ruff', 'check', '--show-files', '.'], cwd=ROOT, capture_output=True, text=True
    )
    if shown.returncode:
        pytest.skip(f'ruff does not run here: {shown.stderr.strip()[:200]}')
    seen = {Path(line) for line in shown.stdout.splitlines()}
    here = {
        path
        for room in ('gfvideo', 'data_prep', 'tools', 'tests', 'docs')
        for path in (ROOT / room).rglob('*.py')
    }
    assert not here - seen, sorted(here - seen)[:5]
