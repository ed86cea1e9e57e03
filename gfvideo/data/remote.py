"""Prepared datasets at an address (``s3://``, ``gs://``, ``https://``, …), read through fsspec.

The description and the rows are fetched once and kept in a folder of this machine; of the shards only the
bytes that are wanted are fetched, each time.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from ..files import write_atomically

__all__ = [
    'FetchedDataset',
    'cache_folder',
    'fetch_file',
    'fetch_range',
    'import_fsspec',
    'is_address',
    'joined',
    'listed_sizes',
]


def is_address(path: str | os.PathLike[str]) -> TypeGuard[str]:
    """Whether ``path`` is an address such as ``s3://bucket/folder`` and not a path of this machine."""
    return isinstance(path, str) and '://' in path


def joined(root: str | Path, path: str) -> str:
    """``path`` below ``root``, a folder or an address."""
    return f'{root.rstrip("/")}/{path}' if is_address(root) else str(Path(root) / path)


def import_fsspec() -> ModuleType:
    """``fsspec``.

    Raises:
        ImportError: if it is not installed, with what to do.
    """
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(
            f'reading from an address needs fsspec, which cannot be imported ({error}); install it with pip'
            ' install "gfvideo[remote]", or copy the dataset to this machine'
        ) from error
    return fsspec


@lru_cache(maxsize=64)
def _filesystem(protocol: str, process: int) -> Any:
    # a file system's threads and connections do not live on in a forked process, so each has its own
    fsspec = import_fsspec()
    try:
        return fsspec.filesystem(protocol, skip_instance_cache=True)
    except (ImportError, ValueError) as error:
        raise ImportError(
            f'fsspec cannot read {protocol}:// ({" ".join(str(error).split())}); install the package that it'
            ' asks for (s3fs for s3://, gcsfs for gs://, aiohttp for https://)'
        ) from error


def _filesystem_of(address: str) -> Any:
    return _filesystem(address.partition('://')[0], os.getpid())


def fetch_file(address: str) -> bytes:
    """All bytes at an address.

    Raises:
        FileNotFoundError: if there is nothing.
        OSError: if it cannot be read.
        ImportError: if fsspec, or what it needs for this address, is not installed.
    """
    return _cat(address)


def fetch_range(address: str, offset: int, size: int) -> bytes:
    """``size`` bytes from ``offset`` on; fewer if there are no more.

    Raises:
        FileNotFoundError, OSError, ImportError: as :func:`fetch_file`.
    """
    content = _cat(address, start=offset, end=offset + size)
    if len(content) > size:
        raise OSError(f'{address}: the server ignores ranges; it sent {len(content)} bytes instead of {size}')
    return content


def _cat(address: str, **span: int) -> bytes:
    system = _filesystem_of(address)
    try:
        return system.cat_file(address, **span)
    except (OSError, ImportError):
        raise
    except Exception as error:  # every protocol has exceptions of its own
        raise OSError(f'{address}: {type(error).__name__}: {error}') from error


def listed_sizes(address: str) -> dict[str, int] | None:
    """Bytes of each file directly below an address, by its name; None where the server does not tell."""
    try:
        system = _filesystem_of(address)
        system.invalidate_cache()  # sizes as they are now
        found = system.ls(address, detail=True)
    except ImportError:
        raise
    except Exception:  # not every protocol lists, and those that do fail in their own ways
        return None
    sizes = {entry['name'].rstrip('/').rpartition('/')[2]: entry.get('size') for entry in found}
    return sizes if sizes and all(isinstance(size, int) for size in sizes.values()) else None


def cache_folder() -> Path:
    """Where descriptions and rows from addresses are kept: ``$GFVIDEO_CACHE``, else ``~/.cache/gfvideo``."""
    named = os.environ.get('GFVIDEO_CACHE')
    return (
        Path(named) if named else Path(os.environ.get('XDG_CACHE_HOME', '~/.cache')).expanduser() / 'gfvideo'
    )


class FetchedDataset:
    """The description of a prepared dataset at an address, in a folder of this machine.

    Raises:
        FileNotFoundError, OSError, ImportError: as :func:`fetch_file`.

    Attributes:
        address: of the dataset.
        folder: holds ``dataset.json``; the rows of a split come when they are asked for.
    """

    def __init__(self, address: str):
        self.address = address.rstrip('/')
        described = fetch_file(f'{self.address}/dataset.json')
        name = hashlib.sha256(self.address.encode() + b'\n' + described).hexdigest()[:24]
        self.folder = cache_folder() / 'datasets' / name
        if not (self.folder / 'dataset.json').is_file():
            write_atomically(self.folder / 'dataset.json', described)

    def fetch(self, name: str) -> Path:
        """A file beside ``dataset.json``, fetched unless it is kept already."""
        file = self.folder / name
        if not file.is_file():
            write_atomically(file, fetch_file(f'{self.address}/{name}'))
        return file
