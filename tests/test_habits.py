"""What a stranger finds around the code: continuous integration, hooks, the citation, the container; and that
they name the same versions, commands and files as the rest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from gfvideo import __version__

ROOT = Path(__file__).resolve().parents[1]
PINS = dict(re.findall(r'^([\w.-]+)==(\S+)$', (ROOT / 'constraints.txt').read_text(), re.MULTILINE))
TARGETS = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))


def read_yaml(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding='utf-8'))


def run_lines(job: dict) -> list[str]:
    return [line.strip() for step in job['steps'] for line in step.get('run', '').splitlines()]


def test_ci_runs_the_steps_of_this_repository_on_every_python_it_supports():
    jobs = read_yaml('.github/workflows/ci.yml')['jobs']
    setup = (ROOT / 'setup.cfg').read_text()
    assert jobs['test']['strategy']['matrix']['python'] == re.findall(r'Python :: (3\.\d+)', setup)
    assert './.ci/run' in run_lines(jobs['test'])
    assert 'python -m build' in run_lines(jobs['package'])
    assert sum('pip install' in line and 'dist/' in line for line in run_lines(jobs['package'])) == 2


@pytest.mark.parametrize('name', ['.github/workflows/ci.yml', 'CONTRIBUTING.md', 'Dockerfile', '.ci/run'])
def test_make_has_the_targets_that_are_named(name):
    text = (ROOT / name).read_text()
    found = re.findall(r'(?:^|`|run: |&& |RUN )make ([a-z-]+)', text, re.MULTILINE)
    named = set(found) | ({'demo'} if '"make", "demo"' in text else set())
    assert not named - TARGETS, named - TARGETS


def test_hooks_have_the_pinned_versions():
    hooks = [hook for repo in read_yaml('.pre-commit-config.yaml')['repos'] for hook in repo['hooks']]
    assert {hook['id'] for hook in hooks} == {'ruff-check', 'ruff-format', 'codespell'}
    for hook in hooks:
        for pin in hook['additional_dependencies']:
            name, version = pin.split('==')
            assert PINS[name] == version


def test_uv_has_the_pinned_versions():
    import tomllib

    content = tomllib.loads((ROOT / 'pyproject.toml').read_text())
    for pin in content['tool']['uv']['constraint-dependencies']:
        name, version = pin.split('==')
        assert PINS[name] == version
    assert (
        content['project']['requires-python']
        == re.search(r'python_requires = (\S+)', (ROOT / 'setup.cfg').read_text())[1]
    )


def test_the_citation_is_one():
    content = read_yaml('CITATION.cff')
    assert content['cff-version'] == '1.2.0' and content['version'] == __version__
    assert (
        content['message'] and content['title'].startswith('gfvideo') and content['license'] == 'Apache-2.0'
    )
    for work in (content, *content['references']):
        assert work['authors'] and all(
            set(author) in ({'name'}, {'family-names', 'given-names'}) for author in work['authors']
        )
    readme = (ROOT / 'README.md').read_text()
    for work in content['references']:
        assert {'type', 'title', 'authors', 'year'} <= set(work)
        assert all(author['family-names'] in readme for author in work['authors'])


def test_the_changes_end_at_the_version():
    headings = re.findall(r'^## (.+)$', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)
    assert [name for name in headings if name != 'Unreleased'][0] == __version__


FORMS = sorted((ROOT / '.github/ISSUE_TEMPLATE').glob('*.yml'))


@pytest.mark.parametrize('path', FORMS, ids=lambda path: path.stem)
def test_issue_forms(path):
    form = yaml.safe_load(path.read_text())
    assert form['name'] and form['description']
    ids = [field['id'] for field in form['body']]
    assert len(ids) == len(set(ids)) and all(field['attributes']['label'] for field in form['body'])
    if path.stem != 'idea':
        assert any(field['attributes']['label'] == 'gfvideo env' for field in form['body'])


def test_the_container_copies_what_is_there():
    lines = (ROOT / 'Dockerfile').read_text().replace('\\\n', ' ').splitlines()
    instructions = [line.split()[0] for line in lines if line and not line.startswith('#')]
    assert instructions[0] == 'FROM' and instructions[-1] == 'CMD'
    assert set(instructions) <= {'FROM', 'RUN', 'WORKDIR', 'COPY', 'ENV', 'CMD'}
    copied = [name for line in lines if line.startswith('COPY') for name in line.split()[1:-1]]
    assert copied and all((ROOT / name).exists() for name in copied)
    before_install = '\n'.join(lines).split('make install')[0]
    needed = re.search(r'^\$\(STAMP\): (.*)$', (ROOT / 'Makefile').read_text(), re.MULTILINE)[1].split()
    assert all(name in before_install for name in needed)


@pytest.mark.slow
def test_the_sdist_makes_the_same_wheel(tmp_path):
    """What a package index would hold: a wheel made of the sdist has the package, configs, tools and data
    preparation."""
    source = tmp_path / 'source'
    source.mkdir()
    for name in ('gfvideo', 'configs', 'tools', 'data_prep'):
        (source / name).symlink_to(ROOT / name)
    for name in (
        *('setup.cfg', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'Makefile', 'constraints.txt'),
        *('model-index.yml', 'README.md', 'LICENSE'),
    ):
        (source / name).write_bytes((ROOT / name).read_bytes())
    built = subprocess.run(
        [sys.executable, 'setup.py', '-q', 'sdist', '-d', str(tmp_path / 'dist')],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    if built.returncode and 'No module named' in built.stderr:
        pytest.skip(f'no sdist can be built here: {built.stderr.strip().splitlines()[-1]}')
    assert built.returncode == 0, built.stderr[-2000:]
    (archive,) = (tmp_path / 'dist').glob('*.tar.gz')
    with tarfile.open(archive) as held:
        held.extractall(tmp_path / 'unpacked', filter='data')
    (unpacked,) = (tmp_path / 'unpacked').iterdir()
    command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '-q']
    command += ['-w', str(tmp_path), '.']
    made = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, timeout=1500)
    assert made.returncode == 0, made.stderr[-2000:]
    (wheel,) = tmp_path.glob('*.whl')
    code = 'import sys, gfvideo; print(gfvideo.__version__, gfvideo.__file__)'
    shown = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(wheel)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert shown.stdout.split()[0] == __version__ and wheel.name in shown.stdout, shown.stderr
    names = set(zipfile.ZipFile(wheel).namelist())
    for room in (
        'configs/_base_/default_runtime.py',
        'tools/train.py',
        'data_prep/folder.py',
        'model-index.yml',
    ):
        assert f'gfvideo/.mim/{room}' in names
    assert 'gfvideo/report/page.html' in names
