"""Import every library that gfvideo uses, print the versions, and say what to
do about one that does not load (``make check``).

Each library is imported in a process of its own, because one that does not fit
the machine may end the process that imports it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

TIME_LIMIT = 300  # seconds for one import; the first one on a slow disk takes long
SYSTEM_PACKAGES = {  # shared library -> the package of Debian and Ubuntu that holds it
    'libgomp.so.1': 'libgomp1',
    'libstdc++.so.6': 'libstdc++6',
}


@dataclass(frozen=True)
class Library:
    """A module to import, the distribution that brings it, and the extra that asks for it (None: gfvideo
    cannot do without)."""

    module: str
    distribution: str
    extra: str | None = None


LIBRARIES = (
    Library('torch', 'torch'),
    Library('numpy', 'numpy'),
    Library('einops', 'einops'),
    Library('mmengine', 'mmengine'),
    Library('av', 'av'),
    Library('decord', 'decord'),
    Library('cv2', 'opencv-python'),
    Library('PIL', 'pillow'),
    Library('matplotlib', 'matplotlib'),
    Library('gfvideo', 'gfvideo'),
    Library('torchcodec', 'torchcodec', 'torchcodec'),
    Library('timm', 'timm', 'timm'),
    Library('safetensors', 'safetensors', 'hub'),
    Library('huggingface_hub', 'huggingface_hub', 'hub'),
    Library('onnx', 'onnx', 'onnx'),
    Library('onnxruntime', 'onnxruntime', 'onnx'),
    Library('imageio_ffmpeg', 'imageio-ffmpeg', 'prep'),
)


def installed_version(distribution: str) -> str | None:
    """The installed version of a distribution, or None; cv2 may come from either of its wheels."""
    for name in (
        (distribution, 'opencv-python-headless') if distribution == 'opencv-python' else (distribution,)
    ):
        try:
            return importlib.metadata.version(name) + (' (headless)' if name != distribution else '')
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def try_import(modules: Sequence[str]) -> str:
    """Import ``modules`` in one new process; what went wrong in words, '' if nothing did."""
    # -P: what is installed, not what lies in this folder
    command = [sys.executable, '-P', '-c', f'import {", ".join(modules)}']
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        return f'the import took more than {TIME_LIMIT} seconds'
    if run.returncode < 0:
        return f'the import was ended by {signal.Signals(-run.returncode).name}'
    return '' if run.returncode == 0 else (run.stderr.strip() or f'exit code {run.returncode}')


def remedy(library: Library, error: str) -> str:
    """What to do about ``error``, the text of a failed import of ``library``."""
    missing = re.findall(r'(lib[\w+.-]+\.so[.\d]*): cannot open shared object file', error)
    if library.module == 'torchcodec':
        return (
            'optional, the other readers do its work; it needs the FFmpeg libraries of the system (apt-get'
            ' install ffmpeg) and the release made for this torch'
        )
    if library.module == 'cv2' and missing:  # it names the first that is missing only
        return (
            'the system lacks libraries of a screen. On Debian and Ubuntu: apt-get install libgl1'
            ' libglib2.0-0 libxcb1; or let make clean-venv, make install take opencv-python-headless'
        )
    packages = sorted({SYSTEM_PACKAGES[name] for name in missing if name in SYSTEM_PACKAGES})
    if packages:
        return (
            f'the system lacks {", ".join(missing)}. On Debian and Ubuntu: apt-get install'
            f' {" ".join(packages)}'
        )
    if missing:
        return f'the system lacks {", ".join(missing)}; install the package of your system that holds it'
    if 'was ended by SIGILL' in error:
        return (
            'this processor lacks instructions that the wheel uses; it needs a newer processor or a build'
            ' made on this machine'
        )
    if f"No module named '{library.module}'" in error:
        return f'not installed here: make install{f" EXTRAS=dev,{library.extra}" if library.extra else ""}'
    if 'torchvision::nms' in error:
        return (
            'optional; torchvision does not fit this build of torch: both must come from one index, of'
            ' releases that belong together'
        )
    return (
        f'install it anew: {sys.executable} -m pip install --force-reinstall --no-deps -c constraints.txt'
        f' {library.distribution}'
    )


def first_words(error: str) -> str:
    """The line of an error text that says what happened: the missing shared library, or else the last
    line."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return next((line for line in lines if 'cannot open shared object file' in line), lines[-1])


def report(library: Library, version: str | None, error: str) -> tuple[str, bool]:
    """One line (or three) on a library, and whether gfvideo can work with what was found."""
    head = f'  {library.module:<15}{version or "-":<22}'
    if not error:
        return f'{head}ok', True
    if version is None and library.extra:
        return f'{head}not installed (optional, extra "{library.extra}")', True
    if version is None and library.module == 'decord' and f"No module named '{library.module}'" in error:
        return f'{head}not installed (no wheel for this system; the other readers do its work)', True
    said = (
        f'{head}{"does not load" if version else "missing"}\n    {first_words(error)}\n    ->'
        f' {remedy(library, error)}'
    )
    return said, library.extra is not None


def check_together(modules: Sequence[str]) -> str:
    """Import all that loads in one process: libraries that load alone may still not bear each other."""
    error = try_import(modules)
    if not error:
        return ''
    return (
        f'  {", ".join(modules)} load one by one, but not in one process\n    {first_words(error)}\n'
        '    -> an environment that also holds other packages may mix builds: make clean-venv, make install'
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        errors = list(pool.map(lambda library: try_import([library.module]), LIBRARIES))
    print(f'Python {sys.version.split()[0]} ({sys.executable})')
    good = True
    for library, error in zip(LIBRARIES, errors):
        line, usable = report(library, installed_version(library.distribution), error)
        good &= usable
        print(line)
    together = check_together(
        [library.module for library, error in zip(LIBRARIES, errors) if not error and library.extra is None]
    )
    if together:
        print(together)
    if all(is_there(name) for name in ('opencv-python', 'opencv-python-headless')):
        print(
            '  opencv-python and opencv-python-headless are both installed and share one folder: uninstalling'
            ' one breaks the other.\n    -> make clean-venv, make install'
        )
    print(
        'gfvideo can work here.'
        if good and not together
        else 'gfvideo cannot work here before this is mended.'
    )
    return 0 if good and not together else 1


def is_there(distribution: str) -> bool:
    """Whether exactly this distribution is installed."""
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == '__main__':
    sys.exit(main())
