"""Make a virtual environment with gfvideo and the tested versions of its libraries (what ``make install``
runs).

Needs nothing but Python's standard library. Torch is installed first and alone, by the pin of
constraints.txt, so that nothing installed later can bring a second build of it; everything comes as wheels,
so no compiler is needed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / 'constraints.txt'
SUPPORTED = ((3, 11), (3, 13))
GIB = 2**30
STEP_LIMIT = 3600  # seconds for one run of pip; a slow line needs long for torch


class SetupError(Exception):
    """Why the environment cannot be made, and what to do about it."""


def check_version(version: tuple[int, int]) -> None:
    """Raise :class:`SetupError` for a Python outside 3.11 to 3.13."""
    if not SUPPORTED[0] <= version <= SUPPORTED[1]:
        raise SetupError(
            f'this is Python {version[0]}.{version[1]}; gfvideo needs 3.11, 3.12 or 3.13. '
            'Name another one: make install PYTHON=/path/to/python3.12'
        )


def free_space(folder: Path) -> int:
    """Free bytes of the disk that holds ``folder``, or would hold it."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_space(folders: dict[str, Path], needed: float) -> None:
    """Raise :class:`SetupError` if the disk of one of ``folders`` (name -> path) has less than ``needed`` GiB
    free."""
    for name, folder in folders.items():
        free = free_space(folder) / GIB
        if free < needed:
            raise SetupError(
                f'{free:.1f} GiB are free for {name} ({folder}), {needed:.0f} GiB are needed: torch and the'
                ' libraries take about 2 GiB with a CPU build of torch, and as much again while they unpack;'
                ' a CUDA build takes several GiB more. Free some space, or move it: make install'
                ' VENV=/another/disk/gfvideo, TMPDIR=/another/disk for temporary files'
            )


def pinned(name: str, constraints: str) -> str:
    """The requirement that pins ``name`` in the text of a constraints file, e.g. ``'torch==2.13.0'``."""
    for line in constraints.splitlines():
        if line.strip().lower().startswith(f'{name}=='):
            return line.strip()
    raise SetupError(f'{CONSTRAINTS.name} does not pin {name}')


def venv_python(venv: Path) -> Path:
    """The interpreter of a virtual environment."""
    return venv / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python')


def make_venv(venv: Path) -> None:
    """Make the virtual environment, or check that the one that is there can be used."""
    if not venv_python(venv).exists():
        if subprocess.run(
            [sys.executable, '-c', 'import venv, ensurepip'], capture_output=True, timeout=300
        ).returncode:
            raise SetupError(
                f'{sys.executable} cannot make virtual environments: its module venv or ensurepip is missing.'
                ' On Debian and Ubuntu: apt-get install'
                f' python{sys.version_info[0]}.{sys.version_info[1]}-venv'
            )
        if subprocess.run([sys.executable, '-m', 'venv', str(venv)], timeout=600).returncode:
            raise SetupError(f'could not make the virtual environment {venv}; the lines above say why')
        return
    found = subprocess.run(
        [str(venv_python(venv)), '-c', 'import sys; print(*sys.version_info[:2])'],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if found.returncode:
        raise SetupError(
            f'{venv} is there, but its Python does not run: {found.stderr.strip()}. Remove it: make'
            f' clean-venv VENV={venv}'
        )
    check_version(tuple(int(part) for part in found.stdout.split()))


def pip(venv: Path, *arguments: str) -> None:
    """Run pip in the environment; its own words go to the terminal.

    Raises:
        SetupError: if pip fails.
    """
    command = [str(venv_python(venv)), '-m', 'pip', '--disable-pip-version-check', '--no-input', *arguments]
    if subprocess.run(command, cwd=ROOT, timeout=STEP_LIMIT).returncode == 0:
        return
    for folder in (venv, Path(tempfile.gettempdir())):
        if free_space(folder) < GIB / 2:
            raise SetupError(
                f'pip stopped, and the disk of {folder} is full ({free_space(folder) / GIB:.1f} GiB free). '
                'Free some space and run the same command again; what is installed stays'
            )
    raise SetupError(
        f'pip {" ".join(arguments)} failed; its last lines are above.\n  "No matching distribution": no wheel'
        ' for this Python and system; try another Python (make clean-venv, then make install'
        ' PYTHON=python3.11).\n  Retries, time-outs, names that do not resolve: no way to the package index;'
        ' set it with pip config or PIP_INDEX_URL.\nRun the same command again afterwards; what is installed'
        ' stays'
    )


def is_installed(venv: Path, distribution: str) -> bool:
    """Whether a distribution is installed in the environment."""
    code = 'import importlib.metadata, sys; importlib.metadata.version(sys.argv[1])'
    return (
        subprocess.run(
            [str(venv_python(venv)), '-c', code, distribution], capture_output=True, timeout=300
        ).returncode
        == 0
    )


def install(venv: Path, extras: Sequence[str]) -> None:
    """Install torch by its pin, then the package with ``extras``, every version as constraints.txt says."""
    wheels_only = ('install', '--only-binary', ':all:', '-c', str(CONSTRAINTS))
    constraints = CONSTRAINTS.read_text(encoding='utf-8')
    pip(venv, *wheels_only, pinned('torch', constraints))
    pip(venv, *wheels_only, pinned('setuptools', constraints), pinned('wheel', constraints))
    if is_installed(venv, 'opencv-python-headless'):
        # both wheels write into one folder, so taking out one alone would leave the other in pieces
        pip(venv, 'uninstall', '--yes', 'opencv-python', 'opencv-python-headless')
    target = f'.[{",".join(extras)}]' if extras else '.'
    pip(venv, *wheels_only, '--no-build-isolation', '--editable', target)


def mend_opencv(venv: Path) -> None:
    """Put opencv-python-headless in the place of opencv-python where the system lacks the libraries of a
    screen.

    mmengine asks for opencv-python, whose windows need libGL and GLib; gfvideo opens no window.
    """
    probe = subprocess.run(
        [str(venv_python(venv)), '-c', 'import cv2'], capture_output=True, text=True, timeout=300
    )
    if probe.returncode == 0 or 'cannot open shared object file' not in probe.stderr:
        return
    print(
        f'opencv-python does not load here ({probe.stderr.strip().splitlines()[-1]}).\n'
        'Taking opencv-python-headless in its place; to have opencv-python itself: '
        'apt-get install libgl1 libglib2.0-0 libxcb1, then make clean-venv and the same command again.',
        flush=True,
    )
    pip(venv, 'uninstall', '--yes', 'opencv-python')
    headless = pinned('opencv-python-headless', CONSTRAINTS.read_text(encoding='utf-8'))
    pip(venv, 'install', '--only-binary', ':all:', '--no-deps', headless)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('venv', type=Path, help='folder of the virtual environment; made if it is not there')
    parser.add_argument('--extras', default='', help='extras of setup.cfg, with commas, e.g. dev,torchcodec')
    parser.add_argument(
        '--min-free',
        type=float,
        default=4.0,
        metavar='GIB',
        help='free space to ask for before torch is installed (default 4)',
    )
    args = parser.parse_args(arguments)
    venv = args.venv.absolute()
    try:
        check_version(sys.version_info[:2])
        if not (venv_python(venv).exists() and is_installed(venv, 'torch')):
            check_space(
                {'the environment': venv, 'temporary files': Path(tempfile.gettempdir())}, args.min_free
            )
        make_venv(venv)
        install(venv, [extra.strip() for extra in args.extras.split(',') if extra.strip()])
        mend_opencv(venv)
    except SetupError as error:
        print(f'\ngfvideo is not installed: {error}', file=sys.stderr)
        return 1
    except subprocess.TimeoutExpired as error:
        print(f'\ngfvideo is not installed: {error}; run the same command again', file=sys.stderr)
        return 1
    return subprocess.run(
        [str(venv_python(venv)), str(ROOT / 'tools' / 'check_environment.py')], timeout=900
    ).returncode


if __name__ == '__main__':
    sys.exit(main())
