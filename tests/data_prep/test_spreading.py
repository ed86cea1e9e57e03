from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from data_prep.common import spreading
from data_prep.common.spreading import TRIES, Spread, StopRun, run_all


def note(folder: str, items: list[int]) -> list[int]:
    """Leave a file for every item and every call."""
    for item in items:
        Path(folder, f'{item}-{os.getpid()}-{time.monotonic_ns()}').touch()
    return items


def die_at(guilty: int, folder: str, items: list[int]) -> list[int]:
    note(folder, items)
    if guilty in items:
        os.kill(os.getpid(), signal.SIGKILL)
    return items


def die_once(folder: str, items: list[int]) -> list[int]:
    flag = Path(folder, 'died')
    if 3 in items and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return items


def fail_at(guilty: int, items: list[int]) -> list[int]:
    if guilty in items:
        raise StopRun('the disk is full')
    return items


def sleep(folder: str, items: list[int]) -> list[int]:
    note(folder, items)
    time.sleep(3000)
    return items


def dead(item: int) -> str:
    return f'dead {item}'


def is_alive(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def pids_in(folder: Path) -> list[int]:
    return [int(file.name.split('-')[1]) for file in folder.iterdir()]


@pytest.mark.parametrize(('count', 'chunk'), [(0, 3), (1, 3), (17, 3)])
def test_everything_is_done_once(here, tmp_path, count, chunk):
    results = list(run_all(Spread(2), partial(note, str(tmp_path)), iter(range(count)), chunk, dead))
    assert sorted(results) == [list(range(count))[at : at + chunk] for at in range(0, count, chunk)]
    assert len(list(tmp_path.iterdir())) == count


def test_few_are_in_flight(monkeypatch):
    """Items are taken from the source when there is room, so that a million of them need no memory."""
    from concurrent.futures import ThreadPoolExecutor

    taken, done, ahead = [], [], []

    @contextmanager
    def executor(self):
        with ThreadPoolExecutor(2) as pool:
            yield pool

    def items():
        for item in range(60):
            ahead.append(item - len(done))
            taken.append(item)
            yield item

    monkeypatch.setattr(Spread, 'executor', executor)
    for result in run_all(Spread(2), list, items(), 3, dead):
        done.extend(result)
    assert sorted(done) == taken == list(range(60))
    assert max(ahead) <= 3 * 5  # two chunks a worker, and the one that is being made up


def test_processes_that_are_killed(tmp_path):
    results = list(run_all(Spread(2), partial(die_at, 5, str(tmp_path)), range(9), 2, dead))
    assert sorted(item for part in results if part != 'dead 5' for item in part) == [0, 1, 2, 3, 4, 6, 7, 8]
    assert results.count('dead 5') == 1
    tries = [file for file in tmp_path.iterdir() if file.name.startswith('5-')]
    assert TRIES <= len(tries) <= TRIES + 1  # once among others, then alone
    assert not any(map(is_alive, pids_in(tmp_path)))


def test_a_process_that_is_killed_once_costs_nothing(tmp_path):
    results = list(run_all(Spread(1), partial(die_once, str(tmp_path)), range(5), 2, dead))
    assert sorted(item for part in results for item in part) == list(range(5))


class Breaking:
    """An executor that breaks when it is handed the item ``guilty``."""

    def __init__(self, guilty):
        self.guilty, self.broken = guilty, False

    def submit(self, function, items):
        from concurrent.futures import Future

        future = Future()
        if self.broken:
            raise BrokenExecutor
        if self.guilty in items:
            self.broken = True
            future.set_exception(BrokenExecutor())
        else:
            future.set_result(function(items))
        return future


@pytest.mark.parametrize('guilty', [0, 3, 11])
@pytest.mark.parametrize('chunk', [1, 4])
def test_the_guilty_item_is_found(monkeypatch, guilty, chunk):
    @contextmanager
    def executor(self):
        yield Breaking(guilty)

    monkeypatch.setattr(Spread, 'executor', executor)
    done, results = [], list(run_all(Spread(2), lambda items: list(items), iter(range(12)), chunk, dead))
    for result in results:
        done.extend([result] if isinstance(result, str) else result)
    assert sorted(map(str, done)) == sorted(
        [str(item) for item in range(12) if item != guilty] + [f'dead {guilty}']
    )


def test_an_exception_ends_the_run(tmp_path):
    with pytest.raises(StopRun, match='the disk is full'):  # long before the end
        list(run_all(Spread(2), partial(fail_at, 4), range(10**9), 2, dead))


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
def test_ctrl_c_ends_workers_in_the_middle_of_their_work(tmp_path):
    """Also where the tests run in the background of a script, which ignores Ctrl-C."""

    def interrupt():
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            list(run_all(Spread(2), partial(sleep, str(tmp_path)), range(100), 1, dead))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(pids_in(tmp_path)) == 2
    assert not any(map(is_alive, pids_in(tmp_path)))


def test_errors_cross_processes():
    error = pickle.loads(pickle.dumps(StopRun('make room')))
    assert type(error) is StopRun and str(error) == 'make room'


def test_no_scheduler_answers(monkeypatch):
    pytest.importorskip('distributed')
    with pytest.raises(StopRun, match='--dask: no scheduler answers at not an address'):
        list(run_all(Spread(dask='not an address'), list, range(3), 1, dead))


def test_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, 'distributed', None)
    with pytest.raises(StopRun, match=r'pip install "gfvideo\[dask\]"'):
        list(run_all(Spread(dask='tcp://localhost:1'), list, range(3), 1, dead))


def test_width(monkeypatch):
    assert Spread(3).width(None) == 3
    assert spreading.Spread().workers == 1
