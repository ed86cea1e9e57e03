"""Ends of a command that are no bug of ours: told in one line, with the way on, instead of a traceback."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from ..data.dataset import TooManyBadVideos
from ..data.manifest import ManifestError
from ..data.video_index import VideoError
from ..exits import ExitsFileError
from .checkpoint import CheckpointError
from .config import ConfigError
from .hooks import NotFiniteError

__all__ = ['tell_faults']

_TOLD = (
    CheckpointError,
    ConfigError,
    ExitsFileError,
    FileNotFoundError,
    ManifestError,
    NotFiniteError,
    TooManyBadVideos,
    VideoError,
)
_FULL = {
    errno.ENOSPC: 'the disk is full',
    errno.EDQUOT: 'the quota of the disk is used up',
    errno.EFBIG: 'the file is too large for the disk or the limit set (ulimit -f)',
}


class _Terminated(BaseException):
    """SIGTERM came."""


@contextmanager
def tell_faults(way_on: str = '') -> Iterator[None]:
    """Around a command: leave with one line on standard error where the user, the data, the disk or a signal
    ended it.

    Anything else passes, with its traceback: it is a bug. The exit status is 130 after SIGINT, 143 after
    SIGTERM, else 1.

    Args:
        way_on: the command that goes on from what is saved; '' if there is none.

    Raises:
        SystemExit: with the line.
    """
    on = f'; go on with\n  {way_on}' if way_on else ''
    try:
        try:
            with _sigterm_raises(), _readers_leave_quietly():
                yield
        except KeyboardInterrupt:
            _leave(f'interrupted{on}', 128 + signal.SIGINT)
        except _Terminated:
            _leave(f'stopped by SIGTERM{on}', 128 + signal.SIGTERM)
        except _TOLD as error:
            sys.exit(f'{type(error).__name__}: {_from_worker(error)}')
        except (OSError, EOFError) as error:
            if _of_a_loader(error):  # its worker died while it was handing over a batch
                _forget_workers()
                sys.exit(_worker_died('was killed', on))
            if not isinstance(error, OSError) or error.errno not in _FULL:
                raise
            where = f' ({error.filename})' if error.filename else ''
            sys.exit(f'{_FULL[error.errno]}{where}: make room{on}')
    except RuntimeError as error:  # torch raises it wherever the main thread is, above too
        worker = re.search(
            r'DataLoader worker \(pid.*?\) (is killed by signal: [^.]*|exited unexpectedly)', str(error)
        )
        if worker is None:
            raise
        _forget_workers()
        sys.exit(_worker_died(worker[1].replace('is killed', 'was killed'), on))


def _worker_died(how: str, on: str) -> str:
    return (
        f'a process that reads clips {how} (out of memory? fewer of them need less: '
        f'--cfg-options train_dataloader.num_workers=N){on}'
    )


def _of_a_loader(error: BaseException) -> bool:
    """Whether a broken connection is one of torch's DataLoader with its workers."""
    if not isinstance(error, (ConnectionError, EOFError)):
        return False
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return any(file.replace(os.sep, '/').endswith('torch/utils/data/dataloader.py') for file in files)


def _leave(line: str, status: int) -> None:
    _forget_workers()
    sys.stderr.write(f'\n{line}\n')
    sys.stderr.flush()
    raise SystemExit(status)


def _from_worker(error: Exception) -> str:
    """The message alone of an error that came from another process with its traceback in it."""
    text = str(error)
    found = re.search(
        r'Original Traceback \(most recent call last\):.*\n[\w.]*' + type(error).__name__ + r': (.*)\Z',
        text,
        re.DOTALL,
    )
    return found[1].strip() if found else text


def _forget_workers() -> None:
    """torch raises, at the latest on the way out, if a worker of a loader was killed; that was told, or
    meant."""
    if hasattr(signal, 'SIGCHLD') and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@contextmanager
def _readers_leave_quietly() -> Iterator[None]:
    """A worker that was handing over a batch when this process left has nothing to report: its thread that
    shares memory would print a broken connection, after the line that tells why all ended."""
    owner, before = os.getpid(), sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if os.getpid() == owner or not isinstance(error, (ConnectionError, EOFError)):
            before(kind, error, trace)

    sys.excepthook = hook
    try:
        yield
    finally:
        sys.excepthook = before


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """A cluster's way of ending a job becomes an exception, so that what is open is closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            raise _Terminated
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a process forked from this one just ends
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
