"""Signals that end a run: it cleans up, says how to go on, and tells by its exit status what ended it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ['Interrupted', 'ended_by_signals', 'held_from_children']

SIGNALS = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name))


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, the end of a job's time, or of the terminal."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def status(self) -> int:
        """What a shell says of a program that the signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """The first signal raises :class:`Interrupted` in the main thread; from then on this process, which
    cleans up and ends, ignores them. What is ignored from the start, under ``nohup`` say, stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    taken = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    ended = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        ended = True
        for one in taken:
            signal.signal(one, signal.SIG_IGN)
        raise Interrupted(number)

    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken if not ended else ():
            signal.signal(number, before[number])


@contextmanager
def held_from_children() -> Iterator[None]:
    """Processes started meanwhile never get SIGINT and SIGHUP, which a terminal sends to all: their parent
    ends them, and one that still imports could but print where it was. This process gets them afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
