"""One command for all tools, from a checkout and from an installed wheel, in any folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from mmengine.fileio import load

from gfvideo import __version__, cli, home

ROOT = Path(__file__).resolve().parents[1]


def test_the_list(capsys):
    for arguments in ([], ['--help']):
        cli.main(arguments)
        printed = capsys.readouterr().out
        for name, command in cli.COMMANDS.items():
            assert re.search(rf'^  {name} +{re.escape(command.does)}$', printed, re.MULTILINE)
        assert max(map(len, printed.splitlines())) <= 80
    cli.main(['--version'])
    assert capsys.readouterr().out == f'gfvideo {__version__}\n'


def test_every_command_has_its_script():
    for command in (*cli.COMMANDS.values(), *cli.DATASETS.values()):
        assert (home.home() / command.script).is_file(), command


def test_names_of_models(capsys):
    cli.main(['models', 'tsm_*toy'])
    assert capsys.readouterr().out == 'tsm_tiny_toy\n'
    for arguments in (['models', 'nothing_like_it'], ['models', 'a', 'b'], ['models', '--all']):
        with pytest.raises(SystemExit):
            cli.main(arguments)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['trian'], "no command 'trian'. Did you mean train"),
        (['prepare', 'kinetic'], 'Did you mean kinetics'),
        (['zzz'], 'gfvideo --help lists them'),
    ],
)
def test_a_misspelt_command_is_told(arguments, said):
    with pytest.raises(SystemExit, match=re.escape(said)):
        cli.main(arguments)


def test_a_command_is_run_with_its_arguments(tmp_path, monkeypatch, capsys):
    script = tmp_path / 'tool.py'
    script.write_text('import sys\nif __name__ == "__main__":\n    print(sys.argv)\n    sys.exit(3)\n')
    monkeypatch.setattr(cli, 'home', lambda: tmp_path)
    monkeypatch.setitem(cli.COMMANDS, 'tool', cli.Command('tool.py', 'prints'))
    monkeypatch.setattr(sys, 'argv', ['before'])
    monkeypatch.setattr(sys, 'path', [*sys.path])
    monkeypatch.setitem(sys.modules, '__main__', sys.modules['__main__'])
    with pytest.raises(SystemExit) as ended:
        cli.main(['tool', '--flag', 'x y'])
    assert ended.value.code == 3
    assert capsys.readouterr().out == "['gfvideo tool', '--flag', 'x y']\n"


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """The wheel, unpacked in ``run.site``: ``run(*arguments) -> CompletedProcess``, in an empty folder."""
    folder = tmp_path_factory.mktemp('wheel')
    command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '-q']
    source = tmp_path_factory.mktemp('source')  # a build leaves things behind
    for name in ('gfvideo', 'configs', 'tools', 'data_prep'):
        (source / name).symlink_to(ROOT / name)
    for name in ('setup.cfg', 'setup.py', 'pyproject.toml', 'model-index.yml', 'README.md', 'LICENSE'):
        (source / name).write_bytes((ROOT / name).read_bytes())
    made = subprocess.run([*command, '-w', str(folder), str(source)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f'no wheel can be built here: {made.stderr.strip().splitlines()[-1:]}')
    (wheel,) = folder.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / 'site')
    empty = tmp_path_factory.mktemp('empty')

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, '-m', 'gfvideo', *arguments],
            cwd=empty,
            env={**os.environ, 'PYTHONPATH': str(folder / 'site'), 'COLUMNS': '80'},
            capture_output=True,
            text=True,
            timeout=1500,
        )

    run.site = folder / 'site'
    return run


@pytest.mark.parametrize('command', [*cli.COMMANDS, *(f'prepare {name}' for name in cli.DATASETS)])
def test_every_command_of_a_wheel_answers(installed, command):
    done = installed(*command.split(), '--help')
    assert done.returncode == 0, done.stderr
    assert f'usage: gfvideo {command}' in ' '.join(done.stdout.split())
    lines = done.stdout.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    # a word is broken behind its hyphen, or where a line is full
    assert [line for line in lines if re.search(r'\w-$', line)] == []


def test_a_wheel_brings_its_own_configs(installed):
    done = installed('models', 'tsm_tiny_toy')
    assert done.stdout == 'tsm_tiny_toy\n', done.stderr
    done = installed('config', 'tsm_tiny_toy')
    assert done.returncode == 0 and 'ClipRecognizer' in done.stdout, done.stderr


def test_mim_finds_the_models_of_a_wheel(installed):
    """``mim search`` reads ``<package>/.mim/model-index.yml`` and the metafiles it names; ``mim test`` looks
    for a config by its name below the package."""
    carried = installed.site / 'gfvideo' / '.mim'
    assert (carried / 'tools' / 'train.py').is_file() and (carried / 'tools' / 'test.py').is_file()
    metafiles = [carried / name for name in load(carried / 'model-index.yml')['Import']]
    assert len(metafiles) >= 4
    models = [model for metafile in metafiles for model in load(metafile)['Models']]
    collections = [one for metafile in metafiles for one in load(metafile)['Collections']]
    assert len({model['Name'] for model in models}) == len(models) > 20
    for model in models:
        assert (carried / model['Config']).is_file(), model['Name']
        assert len(list((installed.site / 'gfvideo').rglob(Path(model['Config']).name))) == 1
        assert model['In Collection'] in {one['Name'] for one in collections}
    for one in collections:
        assert (carried / one['README']).is_file(), one['Name']


def test_toy_videos_by_a_wheel(installed):
    sizes = [f'--{name}={count}' for name, count in dict(train=6, val=3, test=3, size=96, workers=2).items()]
    done = installed('prepare', 'toy', '--out', 'toy', *sizes)
    assert done.returncode == 0, done.stderr
