"""What of a run's log is for the terminal: its file gets all, a person what tells of the training."""

from __future__ import annotations

import io
import logging
import os
import re
import sys

from mmengine.logging import MMLogger

from ..progress import Progress

__all__ = ['TerminalHandler', 'keep_for_the_file', 'to_terminal']

# beginnings of lines for those who repeat a run, or ask why it failed
_FILE_ONLY = re.compile(
    r'\n-+\nSystem environment|Config:\n|Hooks will be executed|Using env variable|Exp name: '
    r'|Distributed training is not used|Checkpoints will be saved to|Saving checkpoint at'
    r'|Loads? checkpoint (from|by) |(train|val): .*, split |"FileClient" will be|"HardDiskBackend" is'
)
_DRAWN = re.compile(r'(Epoch|Iter)\((train|val)\)')  # where a bar and a line an epoch tell it
_EARLY = ('mmengine', 'gfvideo')  # loggers of what is told before a run has its own


def _warned(word: str) -> str:
    """In yellow, on a terminal with colours, unless NO_COLOR is set."""
    plain = 'NO_COLOR' in os.environ or not sys.stdout.isatty()
    return word if plain else f'\033[33m{word}\033[0m'


class TerminalHandler(logging.Handler):
    """Writes records to standard output, above a bar where one is drawn, and leaves out what is for the file
    alone; warnings that matter all pass.

    Attributes:
        bar: the one on the terminal now.
    """

    def __init__(self, level: int = logging.INFO):
        super().__init__(level)
        self.bar: Progress | None = None

    @property
    def draws(self) -> bool:
        """Whether there is a terminal for bars."""
        return sys.stdout.isatty()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if _FILE_ONLY.match(text) or (self.draws and record.levelno == logging.INFO and _DRAWN.match(text)):
            return False
        return bool(super().filter(record))

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            text = f'{_warned(record.levelname) if self.draws else record.levelname}: {text}'
        stamp = logging.Formatter(datefmt='%m/%d %H:%M:%S').formatTime(record, '%m/%d %H:%M:%S ')
        return text if self.draws else stamp + text

    def emit(self, record: logging.LogRecord) -> None:
        self.say(self.format(record))

    def say(self, text: str) -> None:
        """Write a line that is for the terminal alone."""
        if self.bar is not None:
            self.bar.say(text)
        else:
            encoding = sys.stdout.encoding or 'utf-8'
            sys.stdout.write(f'{text}\n'.encode(encoding, 'replace').decode(encoding))
            sys.stdout.flush()

    def start_bar(self, what: str, total: int, done: int = 0) -> None:
        """Draw a bar of ``total`` batches, where there is a terminal."""
        self.stop_bar()
        if self.draws:
            self.bar = Progress(
                what, total, unit='batches', done=done, file=sys.stdout, tell=lambda _: None, stays=False
            )

    def stop_bar(self) -> None:
        if self.bar is not None:
            self.bar.__exit__(None)
            self.bar = None


class _Keeper(logging.Handler):
    """Keeps records, each text once, for a log file that does not exist yet."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, logging.LogRecord] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.records.setdefault(record.getMessage(), record)


_keeper = _Keeper()


def keep_for_the_file() -> None:
    """From here on what is logged before a run has a log file waits for it (:func:`to_terminal`)."""
    _keeper.records.clear()
    current = MMLogger.get_current_instance()
    for logger in (*(MMLogger.get_instance(name) for name in _EARLY), current):
        to_terminal(logger)
        if _keeper not in logger.handlers:
            logger.handlers.append(_keeper)


def to_terminal(logger: MMLogger) -> TerminalHandler:
    """Let a :class:`TerminalHandler` take the place of the logger's own one, and write to the logger's file
    what was kept for it."""
    files = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
    for handler in files:
        if isinstance(handler.stream, io.TextIOWrapper):
            handler.stream.reconfigure(encoding='utf-8')  # whatever the terminal speaks
        for record in _keeper.records.values():
            handler.handle(record)
    if files:
        _keeper.records.clear()
    for number, handler in enumerate(logger.handlers):
        if isinstance(handler, TerminalHandler):
            return handler
        if isinstance(handler, logging.StreamHandler) and handler not in files:
            own = TerminalHandler(handler.level)
            for some in handler.filters:
                own.addFilter(some)
            logger.handlers[number] = own
            return own
    own = TerminalHandler()
    logger.handlers.append(own)
    return own
