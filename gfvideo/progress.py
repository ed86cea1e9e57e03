"""How far some work is: on a terminal a bar or a line that is drawn anew, elsewhere a plain line now and
then."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, TextIO, TypeVar

if TYPE_CHECKING:  # imported when a terminal is drawn on, and not before
    from rich.live import Live
    from rich.progress import Progress as Bar

__all__ = ['Progress', 'StatusLine', 'progress']

T = TypeVar('T')
T_co = TypeVar('T_co', covariant=True)
SECONDS_BETWEEN_DRAWINGS = 0.1


class Progress:
    """A bar on a terminal, a line every few seconds and one at the end elsewhere: how many are done, how many
    a second, how many failed, time left.

        with Progress('verify', len(clips)) as progress:
            for clip in clips:
                progress.add(failed=not verify(clip))

    Attributes:
        what: named in front.
        total, done: how many there are, and are done.
        failed: how many of those done failed; None if that is not counted.
    """

    def __init__(
        self,
        what: str,
        total: int,
        *,
        unit: str = 'clips',
        done: int = 0,
        failed: int | None = None,
        file: TextIO | None = None,
        every: float = 10.0,
        tell: Callable[[str], None] | None = None,
        stays: bool = True,
    ):
        """
        Args:
            what, total, failed: the attributes.
            unit: what is counted, a plural.
            done: how many were done before.
            file: where the bar or the lines go, standard error by default.
            every: seconds between lines.
            tell: takes a line where there is no bar, in the place of ``file``.
            stays: whether a bar stays on the terminal when it is done.
        """
        self.what, self.total, self.done, self.failed = what, total, done, failed
        self._unit, self._before, self._every = unit, done, every
        self._file = sys.stderr if file is None else file
        self._tell, self._stays = tell or self._write, stays
        self._start = self._told = time.monotonic()
        self._bar = self._make_bar() if total and self._file.isatty() else None
        if done:
            self._tell(f'{what}: {done} of {total} {unit} were done before')

    def _make_bar(self) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(),
            TextColumn('{task.completed:.0f}/{task.total:.0f}'),
            TextColumn('{task.fields[rate]:.1f} ' + f'{self._unit}/s', markup=False),
            *([] if self.failed is None else [TextColumn('{task.fields[failed]} failed')]),
            TimeRemainingColumn(),
            console=Console(file=self._file, force_terminal=True),
            transient=not self._stays,
            auto_refresh=False,  # no thread, which a process that is forked meanwhile would lack
            redirect_stdout=False,  # what others print may go to a file
            redirect_stderr=self._file is sys.stderr,
        )
        self._task = bar.add_task(
            self.what, total=self.total, completed=self.done, rate=0.0, failed=self.failed
        )
        bar.start()
        return bar

    def _write(self, line: str) -> None:
        self._file.write(f'{line}\n')
        self._file.flush()

    def say(self, text: str) -> None:
        """Write a line that stays, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._tell(text)

    def add(self, count: int = 1, failed: int = 0) -> None:
        """``count`` more are done, ``failed`` of which failed."""
        self.done += count
        if self.failed is not None:
            self.failed += failed
        passed = time.monotonic() - self._told
        if self._bar is not None and (passed >= SECONDS_BETWEEN_DRAWINGS or self.done >= self.total):
            self._told = time.monotonic()
            self._bar.update(
                self._task, completed=self.done, rate=self.rate, failed=self.failed, refresh=True
            )
        elif self._bar is None and passed >= self._every and self.done < self.total:
            self._told = time.monotonic()
            self._tell(f'{self}, {_span((self.total - self.done) / max(self.rate, 1e-9))} left')

    @property
    def rate(self) -> float:
        """How many a second, without those that were done before."""
        return (self.done - self._before) / max(time.monotonic() - self._start, 1e-9)

    def __str__(self) -> str:
        failed = '' if self.failed is None else f', {self.failed} failed'
        return (
            f'{self.what}: {self.done} of {self.total} {self._unit}, {self.rate:.1f} {self._unit}/s{failed}'
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type | None, *rest: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif kind is None and self.done > self._before:
            self._tell(str(self))


class Countable(Protocol[T_co]):
    """Anything with a length that can be iterated, such as a list or a data loader."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[T_co]: ...


def progress(
    items: Countable[T], what: str, unit: str = 'batches', file: TextIO | None = None
) -> Iterator[T]:
    """Yield ``items`` and tell how far it is; ``what``, ``unit`` and ``file`` as of :class:`Progress`."""
    iterator = iter(items)  # it may start processes, which should not inherit a bar
    with Progress(what, len(items), unit=unit, file=file) as told:
        for item in iterator:
            yield item
            told.add()


class StatusLine:
    """One line of text that says what goes on: on a terminal drawn anew each time, elsewhere written every
    few seconds.

        with StatusLine() as line:
            line.show('training: epoch 3')  # in the place of the line before
            line.say('trained')             # for good
    """

    def __init__(self, file: TextIO | None = None, every: float = 15.0):
        """
        Args:
            file: where it goes, standard output by default.
            every: seconds between lines where that is no terminal.
        """
        self._file = sys.stdout if file is None else file
        self._every, self._shown = every, -math.inf
        self._live = self._make_live() if self._file.isatty() else None

    def _make_live(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        return Live(
            console=Console(file=self._file, force_terminal=True, highlight=False),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def show(self, text: str) -> None:
        """Say what goes on now."""
        now = time.monotonic()
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(text, no_wrap=True, overflow='ellipsis'), refresh=True)
        elif now - self._shown >= self._every:
            self._shown = now
            self.say(text)

    def say(self, text: str) -> None:
        """Write a line that stays."""
        if self._live is not None:
            self._live.console.print(text, markup=False, soft_wrap=True)
        else:
            self._file.write(f'{text}\n')
            self._file.flush()

    def __enter__(self) -> StatusLine:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()


def _span(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    if hours:
        return f'{hours} h {rest // 60} min'
    return f'{rest // 60} min {rest % 60} s' if rest >= 60 else f'{rest} s'
