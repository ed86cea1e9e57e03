"""Files that appear whole or not at all, and hashes of files: the one place for both."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ['file_hash', 'unfinished_name', 'write_atomically', 'written_whole']

UNFINISHED = re.compile(r'\.(?P<name>.+)\.[0-9a-f]{8}\.tmp', re.DOTALL)


def write_atomically(path: str | Path, content: bytes | Iterable[bytes]) -> None:
    """Write beside ``path`` and rename, so that the final name always means a complete file.

    The file has the mode of any new file; folders that are missing are made. If the write fails or is
    interrupted, what stood at ``path`` stays and nothing is left beside it; only a process that is killed
    leaves a file, of a name that :func:`unfinished_name` knows.

    Args:
        path: of the file. Writers of one path do not disturb each other: the last one to end wins.
        content: all of it, or its pieces one after the other.

    Raises:
        OSError: if it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.{secrets.token_hex(4)}.tmp')
    try:
        with open(part, 'xb') as file:
            file.writelines([content] if isinstance(content, bytes | bytearray | memoryview) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """The path of a new file beside ``path``, for a writer that needs one; at the end of the block it takes
    the name ``path``, and after an error it is gone. Otherwise as :func:`write_atomically`.

    Args:
        path: of the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.{secrets.token_hex(4)}.tmp')
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def unfinished_name(name: str) -> str | None:
    """The final name of a file that a killed :func:`write_atomically` left under ``name``; None of others."""
    match = UNFINISHED.fullmatch(name)
    return match and match['name']


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits.

    Raises:
        OSError: if it cannot be read.
    """
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
