"""How much of the machine other work takes while something is measured."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

__all__ = ['BUSY', 'Load', 'all_work', 'own_work', 'share_of_others', 'warning']

BUSY = 0.1
"""Share of the processors that other work may take before the machine is called busy."""


def own_work() -> float:
    """Seconds that the processors spent on this process and the ones it started and waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def all_work(file: Path = Path('/proc/stat')) -> float | None:
    """Seconds that all processors spent on anything; None where the system does not tell."""
    try:
        user, nice, system, _, _, irq, softirq, steal = file.read_text().split()[1:9]
    except (OSError, ValueError):
        return None
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / os.sysconf('SC_CLK_TCK')


def share_of_others(wall: float, own: float, everything: float | None) -> float | None:
    """Share of the processors' time that other work took, of ``wall`` seconds in which the processors spent
    ``own`` on this and ``everything`` on all."""
    if everything is None:
        return None
    return max(0.0, everything - own) / (wall * (os.cpu_count() or 1))


def warning(others: float | None) -> str:
    """What to add to a result that other work took this share of the processors from; nothing for little."""
    if others is None or others <= BUSY:
        return ''
    return (
        f'; THE MACHINE WAS BUSY, other work took {others:.0%} of its processors: trust no time by'
        ' the clock, and repeat this when it is idle'
    )


class Load:
    """Other work since this was made."""

    def __init__(self) -> None:
        self._wall, self._own, self._all = time.perf_counter(), own_work(), all_work()

    def others(self) -> float | None:
        """See :func:`share_of_others`."""
        now = all_work()
        everything = None if self._all is None or now is None else now - self._all
        return share_of_others(time.perf_counter() - self._wall, own_work() - self._own, everything)
