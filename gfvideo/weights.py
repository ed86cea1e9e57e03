"""Files of weights: read without running anything that may hide in them, and found to be whole; fetched once.

The one place that opens such files. What is in them (a checkpoint of a run, an image model, a file of another
code base) is the matter of who asked, and so are the words in which a fault is told.
"""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, get_rank

__all__ = [
    'DamagedFile',
    'UnreachableFile',
    'UnsafeFile',
    'WeightsFileError',
    'check_sums',
    'fetch',
    'first_line',
    'is_address',
    'read_weights_file',
]

_DAMAGED = (
    RuntimeError,
    EOFError,
    zipfile.BadZipFile,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
    zlib.error,
)


class WeightsFileError(ValueError):
    """A file of weights cannot be read."""


class UnsafeFile(WeightsFileError):
    """It holds more than tensors and plain values, and loading it might run a program."""


class DamagedFile(WeightsFileError):
    """It is not whole, or no file of weights."""


class UnreachableFile(WeightsFileError):
    """Its address gives nothing."""


def is_address(source: str | os.PathLike[str]) -> bool:
    """Whether a source is to be fetched."""
    return str(source).startswith(('http://', 'https://'))


def read_weights_file(source: str | os.PathLike[str], map_location: str | torch.device | None = 'cpu') -> Any:
    """What is in a file, read with ``weights_only=True``.

    Args:
        source: a file of ``torch.save``, a ``.safetensors`` file, or an http(s) address of one.
        map_location: see :func:`torch.load`.

    Returns:
        Whatever it holds: tensors, plain values and containers of them. Of safetensors a dict of tensors.

    Raises:
        FileNotFoundError: if there is no such file.
        UnsafeFile: if it holds more than tensors and plain values.
        DamagedFile: if it is not whole (a part does not fit its checksum), or no such file.
        UnreachableFile: if it cannot be fetched.
        ImportError: if it is a .safetensors file and the package safetensors is not installed.
    """
    path = fetch(str(source)) if is_address(source) else Path(source).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'no file at {path}')
    if path.suffix == '.safetensors':
        return _read_safetensors(path, map_location)
    try:
        check_sums(path)
        return torch.load(path, map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeFile(_telling_line(error)) from error
    except _DAMAGED as error:
        raise DamagedFile(first_line(error)) from error


def _read_safetensors(path: Path, map_location: str | torch.device | None) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ImportError(
            f'{path} is a safetensors file, and the package that reads them is not installed: '
            'pip install safetensors'
        ) from error
    try:
        return load_file(path, device=str(map_location or 'cpu'))
    except (SafetensorError, *_DAMAGED) as error:
        raise DamagedFile(first_line(error)) from error


def check_sums(path: Path) -> None:
    """torch writes a checksum beside each part of a file, and does not look at it.

    Raises:
        ValueError: naming the part that does not fit its own.
    """
    if not zipfile.is_zipfile(path):  # the form of before torch 1.6 has none
        return
    with zipfile.ZipFile(path) as parts:
        bad = parts.testzip()
    if bad is not None:
        raise ValueError(f'its part {bad} does not fit its checksum')


def fetch(url: str) -> Path:
    """The file at an address, in torch's cache (``torch.hub.get_dir()``); fetched once, by the first process
    alone.

    Raises:
        UnreachableFile: if the address gives nothing.
    """
    path = Path(torch.hub.get_dir()) / 'checkpoints' / Path(urlparse(url).path).name
    if get_rank() != 0:
        barrier()
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), progress=False)
    except (OSError, ValueError, RuntimeError) as error:  # urllib's errors are OSErrors
        raise UnreachableFile(f'{url} cannot be fetched ({first_line(error)})') from error
    finally:
        if get_rank() == 0:
            barrier()
    return path


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _telling_line(error: Exception) -> str:
    """The line of torch's long message that says which object is not plain."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if 'GLOBAL' in line or 'Unsupported' in line]
    return (telling or lines or [type(error).__name__])[0][:200]
