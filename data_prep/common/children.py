"""Run a program with a time limit; nothing it starts outlives the limit, or the process that waits for it."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

__all__ = ['KILLED', 'TRIES', 'Finished', 'die_with_parent', 'end_group', 'run_child', 'start_child']

ORPHAN = 'test "$PPID" = "$0" || exit 1; exec "$@"'  # the parent may end before anyone asks to be told
PR_SET_PDEATHSIG = 1  # linux/prctl.h
KEPT_STDERR = 4000
# a cluster ends all of a job's
KILLED = tuple(-number for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
TRIES = 3  # of a program that something else kills: who is short of memory, say


@dataclass(frozen=True)
class Finished:
    """How a program ended: its exit status (None: at the time limit) and the end of what it wrote to
    stderr."""

    status: int | None
    stderr: str

    @property
    def timed_out(self) -> bool:
        return self.status is None

    @property
    def was_killed(self) -> bool:
        """Whether something else ended it: programs that fail do not end like that."""
        return self.status in KILLED


def _prctl() -> Callable[[int, int], int] | None:
    """prctl(2), looked up once and beforehand: nothing may be imported between fork and exec."""
    if not sys.platform.startswith('linux'):
        return None
    return ctypes.CDLL(None, use_errno=True).prctl


_PRCTL = _prctl()


def die_with_parent(parent: int | None = None) -> None:
    """Ask Linux to kill this process when its parent ends, however that ends; elsewhere nothing is asked.

    Args:
        parent: the process id that the parent had before, to notice that it ended in the meantime.
    """
    if _PRCTL is None:
        return
    _PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def start_child(argv: Sequence[str], **pipes: int) -> subprocess.Popen:
    """Start a program at the head of a process group of its own, which ends with this process. No shell reads
    words of ``argv``.

    setpriv asks for that end where it can: the memory of this process then need not be copied for a function
    between fork and exec, which takes longer than the start of a program.
    """
    if _PRCTL is None:
        return subprocess.Popen(list(argv), start_new_session=True, **pipes)
    wrapper = _setpriv()
    if wrapper:
        return subprocess.Popen(
            [*wrapper, '/bin/sh', '-c', ORPHAN, str(os.getpid()), *argv], start_new_session=True, **pipes
        )
    parent = os.getpid()
    return subprocess.Popen(
        list(argv), start_new_session=True, preexec_fn=lambda: die_with_parent(parent), **pipes
    )


@cache
def _setpriv() -> tuple[str, ...]:
    """The words before a command line with which setpriv (util-linux) runs it; none if it is not there or
    cannot."""
    path = shutil.which('setpriv')
    if path is None:
        return ()
    words = (path, '--pdeathsig', 'KILL', '--')
    tried = subprocess.run([*words, sys.executable, '-c', ''], stdin=subprocess.DEVNULL, capture_output=True)
    return words if tried.returncode == 0 else ()


def end_group(child: subprocess.Popen) -> None:
    """Kill a child and all that it started, and wait for it."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):  # it ended before it read all that was written
                pipe.close()


def run_child(argv: Sequence[str], time_limit: float) -> Finished:
    """Run a program to its end, at most ``time_limit`` seconds; then its whole process group is killed.

    One that is killed from outside is run again, :data:`TRIES` times in all: that says nothing about what it
    worked on.
    """
    for _ in range(TRIES):
        finished = _run_once(argv, time_limit)
        if not finished.was_killed:
            break
    return finished


def _run_once(argv: Sequence[str], time_limit: float) -> Finished:
    child = start_child(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        stderr = child.communicate(timeout=time_limit)[1]
        return Finished(child.returncode, stderr[-KEPT_STDERR:].decode(errors='replace').strip())
    except subprocess.TimeoutExpired:
        return Finished(None, f'not done after {time_limit:g} s')
    finally:
        end_group(child)
