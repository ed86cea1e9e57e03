"""The pages: what they quote, name, show and compute is there."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'
PAGES = sorted(path for path in DOCS.rglob('*.md') if 'build' not in path.parts)
IDS = [str(path.relative_to(DOCS)) for path in PAGES]


def rows(text: str) -> Iterator[list[str]]:
    """Cells of the tables of a page, without their heads."""
    for line in text.splitlines():
        if line.startswith('| ') and not line.startswith('|---'):
            yield [cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]]


# ------------------------------------------------------------------------------------------------- contents


def test_the_first_page_leads_to_every_other():
    reached, open_ = set(), {DOCS / 'index.md'}
    while open_:
        page = open_.pop()
        reached.add(page)
        for target in re.findall(r'\]\(([^)#\s]+\.md)', page.read_text()) if page.exists() else ():
            target = (page.parent / target).resolve()
            if target.is_relative_to(DOCS) and target not in reached:
                open_.add(target)
    assert set(PAGES) <= reached, sorted(str(path) for path in set(PAGES) - reached)


def test_pictures_are_small_described_and_used():
    pictures = sorted(path for path in (DOCS / 'images').iterdir())
    sizes = {path.name: path.stat().st_size for path in pictures}
    assert all(size < 150_000 for size in sizes.values()), sizes
    assert sum(sizes.values()) < 1_500_000
    shown = set()
    for page in [*PAGES, ROOT / 'README.md']:
        for words, target in re.findall(r'!\[([^\]]*)\]\(([^)\s]+)\)', page.read_text()):
            assert len(words) > 20, f'{page.name}: {target} has no description for who cannot see it'
            shown.add((page.parent / target).resolve())
    assert shown == set(pictures)


def heading_names(text: str) -> set[str]:
    """Anchors of the headings of a page, as GitHub and MyST make them."""
    text = re.sub(r'^```.*?^```', '', text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r'^#+ (.+)$', text, re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize(
    'page', [*PAGES, ROOT / 'README.md', ROOT / 'CONTRIBUTING.md'], ids=lambda page: page.name
)
def test_links_lead_to_files_and_headings(page):
    text = re.sub(r'^```.*?^```', '', page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target, heading in re.findall(r'\]\(([^)\s#:]*)(?:#([^)\s]+))?\)', text):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f'{page.name}: {target}'
        if heading and file.suffix == '.md':
            assert heading in heading_names(file.read_text()), f'{page.name}: {target}#{heading}'


# ------------------------------------------------------------------------------------------------ reference

REFERENCED = {
    module: page.name
    for page in sorted((DOCS / 'reference').glob('*.md'))
    for module in re.findall(r'automodule:: (\S+)', page.read_text())
}
ROOMS = sorted(
    f'gfvideo.{path.stem}'
    for path in (ROOT / 'gfvideo').iterdir()
    if (path.suffix == '.py' or (path / '__init__.py').is_file()) and not path.stem.startswith('__')
)


def test_the_reference_has_every_room():
    """A room without public names has none to show."""
    public = {room for room in ROOMS if getattr(importlib.import_module(room), '__all__', ())}
    assert public <= set(REFERENCED), sorted(public - set(REFERENCED))
    overview = (DOCS / 'reference.md').read_text()
    assert all(f'`{module}`' in overview for module in REFERENCED)


@pytest.mark.parametrize('module', sorted({*ROOMS, *REFERENCED}))
def test_public_names_are_there_and_are_described(module):
    """Functions and classes; constants and aliases are described by the string below them, which only the
    source shows."""
    found = importlib.import_module(module)
    for name in getattr(found, '__all__', ()):
        value = getattr(found, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert value.__doc__, f'{module}.{name} has no docstring'


def public_names() -> set[str]:
    return {
        f'{module}.{name}'
        for module in REFERENCED
        for name in getattr(importlib.import_module(module), '__all__', ())
    }


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_shows_every_public_name(tmp_path):
    pytest.importorskip('furo', reason='the extra docs is not installed')
    pytest.importorskip('myst_parser', reason='the extra docs is not installed')
    command = [
        sys.executable,
        '-m',
        'sphinx',
        '--fail-on-warning',
        '--keep-going',
        '--quiet',
        '--builder',
        'html',
    ]
    done = subprocess.run(
        [*command, str(DOCS), str(tmp_path / 'site'), '-d', str(tmp_path / 'doctrees')],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    from sphinx.util.inventory import InventoryFile

    inventory = InventoryFile.loads((tmp_path / 'site' / 'objects.inv').read_bytes(), uri='').data
    shown = {name for kind, names in inventory.items() if kind.startswith('py:') for name in names}
    shown |= {
        f'{module}.{name.split(".")[-1]}' for module in REFERENCED for name in shown if is_above(name, module)
    }
    missing = {name for name in public_names() if name not in shown and is_shown_by_itself(name)}
    assert not missing, sorted(missing)
    for page in PAGES:
        assert (tmp_path / 'site' / page.relative_to(DOCS).with_suffix('.html')).is_file()


def is_above(name: str, module: str) -> bool:
    """Whether a name of a room is also one of a module inside, whose part of the page points up to it."""
    room, _, last = name.rpartition('.')
    if not module.startswith(f'{room}.') or room not in REFERENCED:
        return False
    inner = importlib.import_module(module)
    return last in inner.__all__ and getattr(inner, last) is getattr(importlib.import_module(room), last)


def is_shown_by_itself(name: str) -> bool:
    """Not so constants and aliases that nothing describes."""
    module, _, last = name.rpartition('.')
    value = getattr(importlib.import_module(module), last)
    return inspect.isclass(value) or inspect.isroutine(value)


# ---------------------------------------------------------------------- messages and other names


def texts_of(tree: ast.AST) -> Iterator[str]:
    """String literals, whose values that are filled in are ``…``."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield ''.join(part.value if isinstance(part, ast.Constant) else '…' for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


@pytest.fixture(scope='module')
def messages() -> list[str]:
    paths = [path for room in ('gfvideo', 'tools', 'data_prep') for path in (ROOT / room).rglob('*.py')]
    return [text for path in paths for text in texts_of(ast.parse(path.read_text()))]


QUOTED = [
    re.search(r'`([^`]+)`', cells[0])[1]
    for cells in rows((DOCS / 'troubleshooting.md').read_text())
    if cells[0] != 'message'
]


@pytest.mark.parametrize('quoted', QUOTED)
def test_quoted_messages_are_those_of_the_source(quoted, messages):
    pattern = re.compile('.*?'.join(map(re.escape, quoted.split('…'))), re.DOTALL)
    assert any(pattern.search(text) for text in messages)


def test_enough_messages_are_quoted():
    assert len(QUOTED) == len(set(QUOTED)) > 25


REGISTERED = re.compile(r'[A-Z]\w+')
OURS = [
    (heading, cells[0], name)
    for heading, part in (
        (part.partition('\n')[0], part)
        for part in re.split(r'^## ', (DOCS / 'coming_from.md').read_text(), flags=re.MULTILINE)[1:]
    )
    for cells in rows(part)
    if cells[1] != 'here'
    for name in re.findall(r'`([^`]+)`', cells[1]) or ['']
]


def resolves(name: str) -> bool:
    """Whether something here has that name: a file, a dotted name, a registered part, an argument of one."""
    import gfvideo.registry as registries

    if '/' in name:
        return (ROOT / name).exists()
    if name.startswith('gfvideo.'):
        parts = name.split('.')
        for cut in range(len(parts), 0, -1):
            try:
                module = importlib.import_module('.'.join(parts[:cut]))
            except ImportError:
                continue
            try:
                reduce(getattr, parts[cut:], module)
            except AttributeError:
                return False
            return True
    if REGISTERED.fullmatch(name):
        known = (getattr(registries, one) for one in registries.__all__)
        for registry in known:
            registry.import_from_location()
            if name in registry.module_dict:
                return True
    return False


SETTINGS = {
    'strategy',
    'glance',
    'focus',
    "form='tsm'",
    "scope='clip'",
    "init_cfg=dict(type='Pretrained', …)",
}


@pytest.mark.parametrize(('other', 'theirs', 'ours'), OURS)
def test_names_of_ours_are_there(other, theirs, ours):
    assert ours in SETTINGS or resolves(ours), f'{other}: {theirs} -> {ours}'


def test_made_up_names_do_not_resolve():
    for name in ('gfvideo.apis.nothing', 'tools/nothing.py', 'Nothing', 'gfvideo.nothing.at.all'):
        assert not resolves(name)


# ---------------------------------------------------------------------------------------------- python blocks

BLOCK = re.compile(r'(?:<!-- not run: ([^>]+) -->\n)?^```python\n(.*?)^```', re.DOTALL | re.MULTILINE)
ELSEWHERE = {'extending.md'}  # tests/test_extending.py runs all of it

RUN = """
import json, sys, traceback
failed = {}
for page, code in json.load(sys.stdin).items():
    namespace = {'__name__': 'page'}
    try:
        for block in code:
            exec(compile(block, page, 'exec'), namespace)
    except Exception:
        failed[page] = traceback.format_exc()[-1500:]
print(json.dumps(failed))
"""


def test_python_blocks_run(tmp_path):
    """Those of a page one after the other; all pages in one process."""
    code = {
        page.name: [text for reason, text in BLOCK.findall(page.read_text()) if not reason]
        for page in [*PAGES, ROOT / 'README.md']
        if page.name not in ELSEWHERE
    }
    assert sum(map(len, code.values())) >= 10
    done = subprocess.run(
        [sys.executable, '-c', RUN],
        input=json.dumps(code),
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    failed = json.loads(done.stdout.splitlines()[-1])
    assert not failed, '\n'.join(failed.values())


@pytest.mark.parametrize('page', [*PAGES, ROOT / 'README.md'], ids=lambda page: page.name)
def test_what_blocks_import_is_there(page):
    """Also of those that are not run."""
    for _, text in BLOCK.findall(page.read_text()):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith('gfvideo'):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f'{page.name}: {node.module}.{alias.name}'
