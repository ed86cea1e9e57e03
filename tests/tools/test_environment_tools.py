"""The newcomer's way in: which Python is taken, and what is said when something is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


setup = load('setup_environment')
check = load('check_environment')


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{text}\n', encoding='utf-8')
    path.chmod(0o755)
    return path


# ----------------------------------------------------------------------------------------------- which Python


def find_python(folder: Path, *names: str) -> subprocess.CompletedProcess:
    sh = shutil.which('sh')
    return subprocess.run(
        [sh, str(ROOT / 'tools' / 'find_python.sh'), *names],
        env={'PATH': f'{folder}:/usr/bin:/bin'} if names else {'PATH': str(folder)},
        capture_output=True,
        text=True,
        timeout=1500,
    )


def test_first_python_that_runs_and_fits_is_taken(tmp_path):
    executable(tmp_path / 'python3', 'echo 3.9.2')
    executable(tmp_path / 'python3.13', 'echo "shim: not installed" >&2; exit 127')
    executable(tmp_path / 'python3.12', 'echo 3.12.4')
    executable(tmp_path / 'python3.11', 'echo 3.11.9')
    assert find_python(tmp_path).stdout.strip() == str(tmp_path / 'python3.12')


@pytest.mark.parametrize('version', ['3.11.0', '3.12.1', '3.13.7'])
def test_supported_python_by_name(tmp_path, version):
    named = executable(tmp_path / 'with space' / 'my-python', f'echo {version}')
    assert find_python(tmp_path, str(named)).stdout.strip() == str(named)


@pytest.mark.parametrize('version', ['2.7.18', '3.10.13', '3.14.0', '3.110.0'])
def test_wrong_python_is_named_with_its_version(tmp_path, version):
    executable(tmp_path / 'old', f'echo {version}')
    found = find_python(tmp_path, 'old')
    assert (
        found.returncode == 1
        and f'old: Python {version}' in found.stderr
        and '3.11, 3.12 or 3.13' in found.stderr
    )


def test_no_python_at_all(tmp_path):
    found = find_python(tmp_path, 'nothing-of-this-name')
    assert (
        found.returncode == 1
        and 'nothing-of-this-name: not found' in found.stderr
        and 'PYTHON=' in found.stderr
    )


@pytest.mark.skipif(shutil.which('make') is None, reason='make is not installed')
def test_make_stops_at_a_wrong_python(tmp_path):
    old = executable(tmp_path / 'old', 'echo 3.9.2')
    # this may run inside make itself
    environment = {key: value for key, value in os.environ.items() if not key.startswith('MAKE')}
    made = subprocess.run(
        ['make', 'test', f'VENV={tmp_path / "venv"}', f'PYTHON={old}'],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert made.returncode != 0 and 'Python 3.9.2' in made.stderr and not (tmp_path / 'venv').exists()


# -------------------------------------------------------------------------------------------------- making it


@pytest.mark.parametrize('version', [(3, 10), (3, 14), (2, 7)])
def test_setup_refuses_other_versions(version):
    with pytest.raises(setup.SetupError, match=rf'Python {version[0]}\.{version[1]}'):
        setup.check_version(version)


def test_no_space_says_how_much_is_needed(tmp_path):
    setup.check_space({'the environment': tmp_path / 'not' / 'there' / 'yet'}, needed=0)
    with pytest.raises(setup.SetupError, match=r'GiB are free for the environment \(.*999999 GiB are needed'):
        setup.check_space({'the environment': tmp_path / 'not' / 'there' / 'yet'}, needed=999999)


def test_pins_are_found():
    constraints = (ROOT / 'constraints.txt').read_text(encoding='utf-8')
    assert setup.pinned('torch', constraints) == 'torch==2.13.0'
    assert (
        setup.pinned('opencv-python', constraints).split('==')[1]
        == setup.pinned('opencv-python-headless', constraints).split('==')[1]
    )
    with pytest.raises(setup.SetupError, match='does not pin nonsense'):
        setup.pinned('nonsense', constraints)


def test_broken_environment_is_told(tmp_path):
    executable(setup.venv_python(tmp_path), 'echo "no such interpreter" >&2; exit 1')
    with pytest.raises(setup.SetupError, match='no such interpreter.*make clean-venv'):
        setup.make_venv(tmp_path)


def test_environment_of_another_python_is_told(tmp_path):
    executable(setup.venv_python(tmp_path), 'echo 3 9')
    with pytest.raises(setup.SetupError, match=r'Python 3\.9'):
        setup.make_venv(tmp_path)


def test_failed_pip_is_told(tmp_path, capfd):
    executable(setup.venv_python(tmp_path), 'exit 1')
    with pytest.raises(setup.SetupError, match='pip install einops failed'):
        setup.pip(tmp_path, 'install', 'einops')


@pytest.fixture
def fake_venv(tmp_path):
    """An environment whose Python writes down what it is asked, cannot import cv2, and has the distributions
    listed in a file."""
    (tmp_path / 'has').write_text('', encoding='utf-8')
    executable(
        setup.venv_python(tmp_path),
        f"""
echo "$@" >> '{tmp_path}/asked'
case "$*" in
    *'import cv2'*)
        echo 'ImportError: libGL.so.1: cannot open shared object file: No such file or directory' >&2
        exit 1 ;;
    *importlib.metadata*) for last; do :; done; grep -qx "$last" '{tmp_path}/has' ;;
esac""",
    )
    return tmp_path


def asked(venv: Path) -> list[str]:
    return [
        line.split('--no-input ')[1]
        for line in (venv / 'asked').read_text(encoding='utf-8').splitlines()
        if '--no-input' in line
    ]


def test_torch_comes_first_and_alone(fake_venv):
    setup.install(fake_venv, ['dev', 'onnx'])
    first, *_, last = asked(fake_venv)
    assert first.endswith('constraints.txt torch==2.13.0')
    assert last.endswith('--no-build-isolation --editable .[dev,onnx]') and '--only-binary :all:' in last
    assert not any('uninstall' in line for line in asked(fake_venv))


def test_both_opencv_wheels_go_before_one_comes(fake_venv):
    (fake_venv / 'has').write_text('opencv-python-headless\n', encoding='utf-8')
    setup.install(fake_venv, [])
    steps = asked(fake_venv)
    assert steps.index('uninstall --yes opencv-python opencv-python-headless') < len(steps) - 1 and steps[
        -1
    ].endswith('--editable .')


def test_headless_opencv_takes_the_place(fake_venv, capsys):
    setup.mend_opencv(fake_venv)
    removed, added = asked(fake_venv)
    assert (
        removed == 'uninstall --yes opencv-python'
        and added.startswith('install')
        and 'opencv-python-headless==' in added
    )
    assert 'libGL.so.1' in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------- looking at it

CV2, TORCH, DECORD, TORCHCODEC = (
    {library.module: library for library in check.LIBRARIES}[name]
    for name in ('cv2', 'torch', 'decord', 'torchcodec')
)


@pytest.mark.parametrize(
    ('library', 'version', 'error', 'usable', 'said'),
    [
        (TORCH, '2.13.0', '', True, 'ok'),
        (
            CV2,
            '5.0',
            'ImportError: libxcb.so.1: cannot open shared object file: No such file or directory',
            False,
            'apt-get install libgl1',
        ),
        (
            TORCH,
            '2.13.0',
            'OSError: libgomp.so.1: cannot open shared object file: x',
            False,
            'apt-get install libgomp1',
        ),
        (
            TORCH,
            '2.13.0',
            'OSError: libodd.so.7: cannot open shared object file: x',
            False,
            'the system lacks libodd.so.7',
        ),
        (TORCH, '2.13.0', 'the import was ended by SIGILL', False, 'processor'),
        (TORCH, '2.13.0', 'ValueError: numpy.dtype size changed', False, '--force-reinstall'),
        (TORCH, None, "ModuleNotFoundError: No module named 'torch'", False, 'make install'),
        (DECORD, None, "ModuleNotFoundError: No module named 'decord'", True, 'other readers'),
        (TORCHCODEC, '0.13', 'OSError: libavutil.so.60: cannot open shared object file: x', True, 'optional'),
        (TORCHCODEC, None, "ModuleNotFoundError: No module named 'torchcodec'", True, 'extra "torchcodec"'),
    ],
)
def test_report(library, version, error, usable, said):
    line, can_work = check.report(library, version, error)
    assert can_work == usable and said in line and line.startswith(f'  {library.module}')


def test_imports_are_tried_in_another_process(tmp_path, monkeypatch):
    (tmp_path / 'suicidal.py').write_text(
        'import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n', encoding='utf-8'
    )
    monkeypatch.setenv('PYTHONPATH', str(tmp_path) + os.pathsep + os.environ.get('PYTHONPATH', ''))
    assert check.try_import(['suicidal']) == 'the import was ended by SIGILL'
    assert 'No module named' in check.try_import(['no_module_of_this_name'])
    assert check.try_import(['json', 'math']) == ''


def test_versions():
    assert (
        check.installed_version('numpy') and check.installed_version('no-distribution-of-this-name') is None
    )
    assert check.is_there('numpy') and not check.is_there('no-distribution-of-this-name')
