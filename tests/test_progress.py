from __future__ import annotations

import io
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gfvideo.progress import Progress, StatusLine, progress

ROOT = Path(__file__).resolve().parents[1]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _a_terminal_of_its_own(monkeypatch):
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '100')


def shown(terminal: Terminal) -> str:
    """What was drawn, without the marks of colours and places."""
    return re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', terminal.getvalue())


# ---- in a file


def test_lines_in_a_file():
    file = io.StringIO()
    with Progress('verify', 3, file=file, every=0) as told:
        for _ in range(3):
            told.add()
    assert [re.sub(r'[\d.]+ clips/s', 'R', line) for line in file.getvalue().splitlines()] == [
        'verify: 1 of 3 clips, R, 0 s left',
        'verify: 2 of 3 clips, R, 0 s left',
        'verify: 3 of 3 clips, R',
    ]


def test_a_line_at_the_end_if_it_took_no_time():
    file = io.StringIO()
    assert list(progress([4, 5, 6], 'calibrating', file=file)) == [4, 5, 6]
    assert re.fullmatch(r'calibrating: 3 of 3 batches, [\d.]+ batches/s\n', file.getvalue())


def test_lines_are_seconds_apart(monkeypatch):
    now = [100.0]
    monkeypatch.setattr('time.monotonic', lambda: now[0])
    file = io.StringIO()
    with Progress('encode', 1000, file=file) as told:
        for _ in range(40):
            now[0] += 1
            told.add(2)
    assert file.getvalue().splitlines() == [
        'encode: 20 of 1000 clips, 2.0 clips/s, 8 min 10 s left',
        'encode: 40 of 1000 clips, 2.0 clips/s, 8 min 0 s left',
        'encode: 60 of 1000 clips, 2.0 clips/s, 7 min 50 s left',
        'encode: 80 of 1000 clips, 2.0 clips/s, 7 min 40 s left',
        'encode: 80 of 1000 clips, 2.0 clips/s',
    ]


@pytest.mark.parametrize(
    'left, text', [(59, '59 s'), (60, '1 min 0 s'), (3600, '1 h 0 min'), (90061, '25 h 1 min')]
)
def test_time_left(monkeypatch, left, text):
    now = [0.0]
    monkeypatch.setattr('time.monotonic', lambda: now[0])
    told = Progress('x', left + 10, file=(file := io.StringIO()))
    now[0] = 10.0
    told.add(10)
    assert file.getvalue().endswith(f', {text} left\n')


def test_what_was_done_before_and_what_failed(monkeypatch):
    now, lines = [0.0], []
    monkeypatch.setattr('time.monotonic', lambda: now[0])
    with Progress('verify', 10, done=4, failed=0, file=io.StringIO(), tell=lines.append) as told:
        now[0] = 2.0
        told.add(6, failed=2)
    assert lines == [
        'verify: 4 of 10 clips were done before',
        'verify: 10 of 10 clips, 3.0 clips/s, 2 failed',
    ]
    assert (told.done, told.failed) == (10, 2)


def test_nothing_says_nothing():
    for file in (io.StringIO(), Terminal()):
        assert list(progress([], 'calibrating', file=file)) == [] and file.getvalue() == ''


def test_an_error_has_the_last_word():
    file = io.StringIO()
    with pytest.raises(ZeroDivisionError):
        for item in progress([1, 0], 'dividing', file=file):
            1 / item
    assert file.getvalue() == ''


# ---- on a terminal


def test_a_bar_on_a_terminal():
    terminal, lines = Terminal(), []
    with Progress('verify [a]', 4, done=1, failed=0, file=terminal, tell=lines.append) as told:
        told.add(2, failed=1)
        told.add(1)
    drawn = [line for line in re.split(r'[\r\n]+', shown(terminal)) if line.strip()]
    assert drawn[0].startswith('verify [a] ') and '1/4' in drawn[0] and '0 failed' in drawn[0]
    assert '4/4' in drawn[-1] and 'clips/s' in drawn[-1] and '1 failed' in drawn[-1]
    assert lines == ['verify [a]: 1 of 4 clips were done before'] and shown(terminal).endswith('\n')


def test_a_bar_is_not_drawn_for_each(monkeypatch):
    terminal = Terminal()
    with Progress('fast', 10_000, file=terminal) as told:
        for _ in range(10_000):
            told.add()
    assert terminal.getvalue().count('fast') < 1000 and '10000/10000' in shown(terminal)


def test_the_cursor_comes_back_when_a_loop_is_left():
    terminal = Terminal()
    for item in progress(range(5), 'looking', file=terminal):
        if item == 2:
            break
    del item
    assert terminal.getvalue().count('\x1b[?25l') == terminal.getvalue().count('\x1b[?25h') == 1


def test_iterating_begins_before_the_bar():
    """Loaders start processes then."""
    terminal, order = Terminal(), []

    class Loader:
        def __len__(self):
            return 1

        def __iter__(self):
            order.append(terminal.getvalue())
            return iter([1])

    list(progress(Loader(), 'loading', file=terminal))
    assert order == ['']


# ---- a line that changes


def test_a_status_in_a_file(monkeypatch):
    now = [0.0]
    monkeypatch.setattr('time.monotonic', lambda: now[0])
    file = io.StringIO()
    with StatusLine(file, every=15) as line:
        for second in range(40):
            now[0] = second
            line.show(f'second {second}')
            if second == 20:
                line.say('[20 s] halfway')
    assert file.getvalue().splitlines() == ['second 0', 'second 15', '[20 s] halfway', 'second 30']


def test_a_status_on_a_terminal():
    terminal = Terminal()
    with StatusLine(terminal) as line:
        line.show('training [1/2]')
        line.say('[10 s] tsm: trained')
        line.show('x' * 300)
    drawn = Counter(text.strip() for text in re.split(r'[\r\n]+', shown(terminal)))
    assert drawn['training [1/2]'] and drawn['[10 s] tsm: trained'] == 1
    assert max(map(len, drawn)) <= 100  # a line of the terminal, else it could not be drawn anew


def test_importing_costs_nothing():
    code = (
        'import gfvideo.progress, sys; assert not {"rich", "torch", "numpy", "mmengine"} & set(sys.modules)'
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, timeout=1500)
