"""Help that fits the terminal: no line is wider, no word is broken, no word is lost."""

from __future__ import annotations

import argparse
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfvideo.usage import HelpFormatter

TEXT = """Say what a tool does, in a sentence that is somewhat longer than a line of a terminal may be, and
on.

    python tool.py CONFIG --out DIR  # what comes of it
    # a remark that stands above the command that it is about, and takes more than the width of a terminal
    python tool.py CONFIG --a-long-flag first --another-flag second --third-flag third-value --last-flag last

    name         an entry of a list, whose words go on below each other where a line is not enough for all
    --flag: the entry of a flag, whose words go on below each other where a line is not enough for all of them

A last paragraph.
"""


def told(text: str, width: int, monkeypatch) -> str:
    monkeypatch.setenv('COLUMNS', str(width))
    return argparse.ArgumentParser(prog='tool', description=text, formatter_class=HelpFormatter).format_help()


@pytest.mark.parametrize('width', [60, 80, 100])
def test_lines_fit_and_say_all(monkeypatch, width):
    help_of_it = told(TEXT, width, monkeypatch)
    assert max(map(len, help_of_it.splitlines())) <= width
    words = [word for word in help_of_it.split() if word not in ('\\', '#')]
    for word in TEXT.split():
        assert word == '#' or word in words
    joined = help_of_it.replace('\\\n', ' ')
    commands = [
        shlex.split(line, comments=True) for line in joined.splitlines() if line.startswith('    python')
    ]
    wanted = [line.split('  #')[0] for line in TEXT.splitlines() if line.startswith('    python')]
    assert commands == [shlex.split(line) for line in wanted]


def test_a_page_at_80_columns(monkeypatch):
    page = told(TEXT, 80, monkeypatch).splitlines()
    start = page.index('Say what a tool does, in a sentence that is somewhat longer than a line of a')
    assert page[start + 1 : start + 17] == [
        'terminal may be, and on.',
        '',
        '    python tool.py CONFIG --out DIR  # what comes of it',
        '    # a remark that stands above the command that it is about, and takes more',
        '    # than the width of a terminal',
        '    python tool.py CONFIG --a-long-flag first --another-flag second \\',
        '        --third-flag third-value --last-flag last',
        '',
        '    name         an entry of a list, whose words go on below each other where',
        '                 a line is not enough for all',
        '    --flag: the entry of a flag, whose words go on below each other where a',
        '            line is not enough for all of them',
        '',
        'A last paragraph.',
        '',
        'options:',
    ]


def test_flags_are_told_without_breaking_words(monkeypatch):
    monkeypatch.setenv('COLUMNS', '60')
    parser = argparse.ArgumentParser(prog='tool', formatter_class=HelpFormatter)
    words = 'seed of all generators; see --a-flag-of-many-parts and what-is-hyphenated'
    parser.add_argument('--seed', help=words)
    page = parser.format_help()
    assert ' '.join(words.split()) in ' '.join(page.split())
    assert not any(line.endswith('-') for line in page.splitlines())


def test_long_choices_are_told_in_the_help(monkeypatch):
    monkeypatch.setenv('COLUMNS', '60')
    parser = argparse.ArgumentParser(prog='tool', formatter_class=HelpFormatter)
    names = [f'version_{number}' for number in range(9)]
    parser.add_argument('--version', choices=names, help='which')
    parser.add_argument('--unit', choices=['ms', 'gmacs'])
    page = parser.format_help()
    assert '[--version VERSION]' in page and '--unit {ms,gmacs}' in page
    assert f'which; one of {", ".join(names)}' in ' '.join(page.split())
    assert max(map(len, page.splitlines())) <= 60


@given(st.lists(st.text('ab-./#\\ ', min_size=1, max_size=30), max_size=12), st.integers(20, 100))
def test_no_text_loses_a_word(lines, width):
    """Whatever a docstring holds: each of its words is there in its order, but for marks of comments and
    continued lines."""
    text = '\n'.join(lines)

    def kept(description: str) -> list[str]:
        parser = argparse.ArgumentParser(
            'tool', description=description, formatter_class=lambda prog: HelpFormatter(prog, width=width)
        )
        words = parser.format_help().replace('\\', ' ').split()
        return sorted(word for word in words if word.strip('#'))

    written = [word for word in text.replace('\\', ' ').split() if word.strip('#')]
    assert kept(text) == sorted([*kept(''), *written])
