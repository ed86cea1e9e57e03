"""Progress of a loop over batches: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sized
from typing import TextIO, TypeVar

__all__ = ['progress']

T = TypeVar('T')


def progress(batches: Sized, what: str, file: TextIO | None = None, every: float = 15.0) -> Iterator[T]:
    """Yield ``batches`` and tell on ``file`` (standard error by default) how far it is.

    Args:
        batches: anything with a length that can be iterated.
        what: named in front.
        file: where to write.
        every: seconds between lines where ``file`` is no terminal.
    """
    file = sys.stderr if file is None else file
    terminal, total, began = file.isatty(), len(batches), time.monotonic()
    told = began
    for done, batch in enumerate(batches, 1):
        yield batch
        now = time.monotonic()
        if terminal:
            filled = 30 * done // total
            left = (now - began) / done * (total - done)
            file.write(f'\r{what}: [{"#" * filled}{"." * (30 - filled)}] {done}/{total}, {left:.0f} s left ')
        elif now - told > every or done == total:
            told = now
            file.write(f'{what}: {done}/{total}, {now - began:.0f} s\n')
        file.flush()
    if terminal:
        file.write('\n')
