"""What commands answer to ``--help``: as wide as the terminal, no word broken."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator
from typing import Any

__all__ = ['HelpFormatter']

_COMMANDS = ('python', 'gfvideo', 'make', 'wget', 'pip')
_MOST = 40  # letters of choices that stand for their argument


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Fills paragraphs to the width of the terminal, and keeps examples and lists, which are indented.

    Of lines that are too long, a command goes on behind a backslash, its comment stands above it, and an
    entry of a list goes on below its words. Choices that are too long to stand for an argument are told in
    its help.
    """

    def _metavar_formatter(self, action: argparse.Action, default_metavar: str) -> Any:
        if not _many_choices(action):
            return super()._metavar_formatter(action, default_metavar)
        return lambda count: (action.dest.upper(),) * count

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if not _many_choices(action):
            return super()._get_help_string(action)
        listed = ', '.join(map(str, action.choices or ())).replace('%', '%%')
        return f'{action.help}; one of {listed}' if action.help else f'one of {listed}'

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrapped(' '.join(text.split()), width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = re.split(r'\n\s*\n', text.strip('\n'))
        return '\n\n'.join('\n'.join(_paragraph(one.splitlines(), width)) for one in paragraphs)


def _many_choices(action: argparse.Action) -> bool:
    return (
        action.metavar is None
        and bool(action.choices)
        and not isinstance(action, argparse._SubParsersAction)
        and len(','.join(map(str, action.choices or ()))) > _MOST
    )


def _wrapped(text: str, width: int, first: str = '', rest: str | None = None) -> list[str]:
    """Lines of whole words; one that is longer than a line has it to itself."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _paragraph(lines: list[str], width: int) -> Iterator[str]:
    if not any(line.startswith(' ') for line in lines):
        yield from _wrapped(' '.join(lines), width)
        return
    for line in _whole(lines):
        yield from [line] if len(line) <= width else _shortened(line, width)


def _whole(lines: list[str]) -> Iterator[str]:
    """Lines, those that a backslash continues joined if the next one is too long to stay as it is."""
    held = ''
    for line in lines:
        line = f'{held} {line.strip()}' if held else line
        held = line[:-1].rstrip() if line.endswith('\\') else ''
        if not held:
            yield line
    if held:
        yield held


def _shortened(line: str, width: int) -> Iterator[str]:
    indent = line[: len(line) - len(line.lstrip())]
    words = line.strip()
    code, comment, told = words.partition('  # ')
    if comment:
        yield from _shortened(f'{indent}# {told.strip()}', width)
        code = code.rstrip()
        yield from [f'{indent}{code}'] if len(indent + code) <= width else _shortened(indent + code, width)
    elif words.startswith('# '):
        yield from _wrapped(words[2:], width, f'{indent}# ')
    elif words.split()[0] in _COMMANDS:
        held = re.sub(r'( -{1,2}[\w-]+) (?!-)', r'\1\0', words)  # a flag and its value stay together
        *first, last = _wrapped(held, width - 2, indent, f'{indent}    ')
        yield from (f'{one} \\'.replace('\0', ' ') for one in first)
        yield last.replace('\0', ' ')
    elif (entry := re.match(r'(\S+(?:: | {2,}))(.*)', words)) and _fits(entry, width - len(indent)):
        below = indent + ' ' * len(entry[1])
        yield from _wrapped(entry[2], width, indent + entry[1], below)
    else:
        yield from _wrapped(words, width, indent)


def _fits(entry: re.Match, width: int) -> bool:
    """Whether every word of a list's entry fits beside its name."""
    return len(entry[1]) + max(map(len, entry[2].split()), default=0) <= width
