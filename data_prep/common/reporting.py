"""Progress while a step runs, and what to do about the clips that failed."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Mapping

__all__ = ['REMEDIES', 'Progress', 'report_failures']

logger = logging.getLogger('data_prep')
SECONDS_BETWEEN_LINES = 10.0

REMEDIES = {
    'missing': 'no file was found; download these clips, or name the folder that holds them in --videos',
    'ambiguous': (
        'several files could be the clip; keep one, or put it below a folder named as its split or class'
    ),
    'empty': 'the file or folder is empty; download it again',
    'not_a_video': 'the file is no video (an error page saved under its name?); download it again',
    'no_video_stream': 'the file holds sound alone; find another copy, or leave the clip out',
    'truncated': 'the download was cut off; download it again',
    'decode_error': 'the decoder reports damage; download it again, or leave the clip out',
    'missing_frames': 'images are missing from the folder or named in another way; unpack it again',
    'timeout': 'it was not done in time; run the same command again, with a longer --time-limit',
    'killed': (
        'the process that worked on it was killed again and again; run the command again, with fewer'
        ' --workers if memory is short'
    ),
    'unreadable': 'it may not be read; correct its permissions or its name',
    'too_short': 'it has fewer frames than --min-frames; leave it out, or lower --min-frames',
}


class Progress:
    """A bar on a terminal, a line every few seconds elsewhere: clips done, clips a second, failed, time
    left."""

    def __init__(self, what: str, total: int, done: int = 0):
        self.what, self.total, self.done, self.failed, self.skipped = what, total, done, 0, done
        self.start = self.last = time.monotonic()
        self._bar = self._make_bar() if sys.stderr.isatty() else None
        if done:
            logger.info('%s: %d of %d clips were done before', what, done, total)

    def _make_bar(self):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            TextColumn('{task.completed:.0f}/{task.total:.0f}'),
            TextColumn('{task.fields[rate]:.1f} clips/s'),
            TextColumn('{task.fields[failed]} failed'),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = bar.add_task(self.what, total=self.total, completed=self.done, rate=0.0, failed=0)
        bar.start()
        return bar

    def add(self, reasons: Counter) -> None:
        """Count clips by the reason why they failed, '' for those that did not."""
        self.done += reasons.total()
        self.failed += reasons.total() - reasons['']
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, rate=self.rate, failed=self.failed)
        elif time.monotonic() - self.last >= SECONDS_BETWEEN_LINES:
            self._line()

    @property
    def rate(self) -> float:
        """Clips a second in this run."""
        return (self.done - self.skipped) / max(time.monotonic() - self.start, 1e-9)

    def _line(self) -> None:
        self.last = time.monotonic()
        left = (self.total - self.done) / max(self.rate, 1e-9)
        logger.info(
            '%s: %d of %d clips, %.1f clips/s, %d failed%s',
            self.what,
            self.done,
            self.total,
            self.rate,
            self.failed,
            '' if self.done >= self.total else f', {_span(left)} left',
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type | None, *rest: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is None and self.done > self.skipped:
            self._line()


def _span(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return (
        f'{hours} h {rest // 60} min'
        if hours
        else f'{rest // 60} min {rest % 60} s'
        if rest >= 60
        else f'{rest} s'
    )


def report_failures(failures: Counter, examples: Mapping[str, str], file: object) -> None:
    """Say for each reason how many clips failed, the first of them, and what to do."""
    if not failures:
        logger.info('every listed clip can be used')
        return
    logger.warning('%d clips cannot be used; %s lists each with its reason:', failures.total(), file)
    for reason, count in failures.most_common():
        logger.warning('  %7d %-15s e.g. %s: %s', count, reason, examples[reason], REMEDIES[reason])
