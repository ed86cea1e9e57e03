"""Weights: read without running anything that may hide in their files, and found to be whole; freed of what
wrappers put in front of their names; compared with the module that is to take them.

The one place that opens such files and that says what does not fit. What is in them (a checkpoint of a run,
an image model, a file of another code base), and what to do about a fault, is decided by the caller.
"""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, get_rank
from torch import Tensor

__all__ = [
    'COUNTER',
    'DamagedFile',
    'Misfit',
    'UnreachableFile',
    'UnsafeFile',
    'WeightsFileError',
    'are_weights',
    'check_sums',
    'fetch',
    'first_line',
    'is_address',
    'listed',
    'misfit',
    'not_finite',
    'part_of',
    'read_weights_file',
    'under',
    'unwrapped',
    'weights_in',
]

COUNTER = 'num_batches_tracked'
"""What batch normalisation counts; old files lack it."""
_HELD_UNDER = ('state_dict', 'model', 'model_state')

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


# ------------------------------------------------------------------------------------------------------- read


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
            'pip install safetensors, or "gfvideo[hub]"'
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


# ------------------------------------------------------------------------------------------------------ names


def are_weights(value: Any) -> bool:
    """Whether it is a dict of tensors, and of one at least."""
    return (
        isinstance(value, Mapping) and bool(value) and all(isinstance(one, Tensor) for one in value.values())
    )


def weights_in(content: Any) -> dict[str, Tensor] | None:
    """The weights that a file holds, under ``state_dict``, ``model`` or ``model_state`` or by themselves,
    :func:`unwrapped`; None if it holds none."""
    for key in _HELD_UNDER:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    return unwrapped(content) if are_weights(content) else None


def unwrapped(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without the ``module.`` that wrappers put in front of their names: data-parallel ones, averaged
    models, one in the other."""
    return {_unwrapped_name(name): value for name, value in weights.items()}


def _unwrapped_name(name: str) -> str:
    while name.startswith('module.'):
        name = name.removeprefix('module.')
    return name


def part_of(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights whose names begin with ``prefix`` and a dot, without these."""
    start = f'{prefix}.'
    return {name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)}


def under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with ``prefix`` and a dot in front of their names."""
    return {f'{prefix}.{name}': value for name, value in weights.items()}


# -------------------------------------------------------------------------------------------------------- fit


@dataclass(frozen=True)
class Misfit:
    """What keeps weights from a module; false if they fit.

    Attributes:
        missing: names of the module that have no weight.
        left_over: names of weights that the module does not have.
        reshaped: ``NAME (shape) instead of (the module's shape)``.
    """

    missing: Sequence[str]
    left_over: Sequence[str]
    reshaped: Sequence[str]

    def __len__(self) -> int:
        return len(self.missing) + len(self.left_over) + len(self.reshaped)

    def told(self, limit: int | None = 4) -> str:
        """In words, with the first ``limit`` names of each kind; None for all."""
        kinds = (
            (self.missing, 'missing in the file'),
            (self.left_over, 'unknown to the model'),
            (self.reshaped, 'of another shape'),
        )
        return '; '.join(listed(names, kind, limit) for names, kind in kinds if names)


def misfit(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], counters: bool = True) -> Misfit:
    """Compare weights with the state dict of the module that is to take them.

    Args:
        own: of the module; may be on torch's meta device.
        weights: those to be taken.
        counters: whether the counters of batch normalisation must be there, too.
    """
    return Misfit(
        [name for name in own if name not in weights and (counters or not name.endswith(COUNTER))],
        [name for name in weights if name not in own],
        [
            f'{name} {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}'
            for name in own
            if name in weights and weights[name].shape != own[name].shape
        ],
    )


def not_finite(weights: Mapping[str, Tensor]) -> list[str]:
    """Names of weights that are nan or infinite somewhere."""
    return [
        name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()
    ]


def listed(names: Sequence[str], what: str, limit: int | None = 4) -> str:
    """``3 missing (a, b, ...)``."""
    shown = list(names) if limit is None else list(names[:limit])
    return f'{len(names)} {what} ({", ".join(shown)}{", ..." if len(shown) < len(names) else ""})'
