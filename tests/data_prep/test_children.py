from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from data_prep.common.children import KEPT_STDERR, TRIES, end_group, run_child, start_child

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 500  # seconds; nothing here needs one of them
on_linux = pytest.mark.skipif(
    not sys.platform.startswith('linux'), reason='only Linux kills a child whose parent ends'
)


def is_alive(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def wait_until(condition, seconds: float = LIMIT) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.02)
    return condition()


def pids_in(file: Path, count: int) -> list[int]:
    assert wait_until(lambda: file.is_file() and len(file.read_text().split()) == count), (
        'the children did not start'
    )
    return [int(pid) for pid in file.read_text().split()]


def test_status_and_the_end_of_stderr():
    ended = run_child(['/bin/sh', '-c', 'echo out; echo wrong >&2; exit 7'], LIMIT)
    assert (ended.status, ended.stderr, ended.timed_out) == (7, 'wrong', False)
    ended = run_child(
        ['/bin/sh', '-c', 'head -c 100000 /dev/zero | tr "\\0" x >&2; printf "\\377end" >&2'], LIMIT
    )
    assert ended.status == 0
    assert len(ended.stderr) <= KEPT_STDERR and ended.stderr.endswith('\ufffdend')


def test_no_shell_reads_the_names(tmp_path):
    name = f'a b\'"$(touch {tmp_path}/made)`touch {tmp_path}/made`; touch {tmp_path}/made\n*'
    ended = run_child(['/bin/sh', '-c', 'printf %s "$1" >&2', 'sh', name], LIMIT)
    assert ended.stderr == name
    assert not (tmp_path / 'made').exists()


def test_nothing_is_read_from_the_terminal():
    assert run_child(['/bin/cat'], LIMIT).status == 0


@on_linux
def test_the_time_limit_ends_grandchildren_too(tmp_path, monkeypatch):
    """They stop the clock when they have begun: the limit is not over before, however busy the machine."""
    file = tmp_path / 'pids'
    communicate = subprocess.Popen.communicate

    def limited(child, timeout=None):
        pids_in(file, 2)
        return communicate(child, timeout=timeout)

    monkeypatch.setattr(subprocess.Popen, 'communicate', limited)
    ended = run_child(['/bin/sh', '-c', f'sleep 3000 & echo $$ $! > {file}; wait'], 0.1)
    assert ended.timed_out and ended.status is None and ended.stderr == 'not done after 0.1 s'
    assert wait_until(lambda: not any(map(is_alive, pids_in(file, 2))))


@on_linux
def test_a_grandchild_that_is_left_behind_ends_with_the_child(tmp_path):
    file = tmp_path / 'pids'
    run_child(['/bin/sh', '-c', f'sleep 3000 2>/dev/null & echo $! > {file}'], LIMIT)
    assert wait_until(lambda: not any(map(is_alive, pids_in(file, 1))))


def setpriv() -> str:
    """The program that asks for a signal when the parent ends; without it children.py does so itself."""
    program = shutil.which('setpriv')
    if program is None or subprocess.run([program, '--pdeathsig', 'KILL', '--', '/bin/true']).returncode:
        pytest.skip('no setpriv here')
    return program


def waiting_for(script: str, path: str) -> subprocess.Popen:
    """A process that waits for a child, a shell with this script."""
    program = (
        f'import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom data_prep.common.children import run_child\n'
        f"run_child(['/bin/sh', '-c', sys.argv[1]], 3000)"
    )
    return subprocess.Popen([sys.executable, '-c', program, script], env={**os.environ, 'PATH': path})


@on_linux
def test_a_child_whose_parent_ended_before_it_could_ask(tmp_path):
    """The parent is killed while setpriv starts: what comes afterwards would live on."""
    slow = tmp_path / 'bin/setpriv'
    slow.parent.mkdir()
    slow.write_text(
        textwrap.dedent(f"""\
            #!/bin/sh
            case "$*" in *{tmp_path}/ran*)
                echo $$ > {tmp_path}/pid
                while [ ! -e {tmp_path}/orphan ]; do sleep 0.02; done
            esac
            exec {setpriv()} "$@"
        """)
    )
    slow.chmod(0o755)
    parent = waiting_for(f'touch {tmp_path}/ran', f'{slow.parent}:{os.environ["PATH"]}')
    (pid,) = pids_in(tmp_path / 'pid', 1)
    parent.kill()
    parent.wait()
    (tmp_path / 'orphan').touch()
    assert wait_until(lambda: not is_alive(pid))
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('name', ['KILL', 'TERM'])
def test_what_is_killed_from_outside_is_tried_again(tmp_path, name):
    killed_once = f'if [ -e {tmp_path}/once ]; then exit 0; fi; touch {tmp_path}/once; kill -{name} $$'
    assert run_child(['/bin/sh', '-c', killed_once], LIMIT).status == 0
    ended = run_child(['/bin/sh', '-c', f'echo x >> {tmp_path}/tries; kill -{name} $$'], LIMIT)
    assert ended.was_killed and ended.status == -getattr(signal, f'SIG{name}')
    assert (tmp_path / 'tries').read_text().split() == ['x'] * TRIES
    crashed = run_child(['/bin/sh', '-c', f'echo x >> {tmp_path}/crashes; kill -SEGV $$'], LIMIT)
    assert crashed.status == -signal.SIGSEGV and not crashed.was_killed
    assert (tmp_path / 'crashes').read_text().split() == ['x']


def test_ending_a_child_that_did_not_read_what_was_written():
    child = start_child(['/bin/true'], stdin=subprocess.PIPE)
    child.wait()
    child.stdin.write(b'x')  # stays in the buffer, and closing flushes
    end_group(child)
    assert child.stdin.closed


def test_a_program_that_is_not_there():
    try:
        assert run_child(['/no/such/program'], LIMIT).status not in (0, None)
    except FileNotFoundError:  # where nothing stands between
        pass


@on_linux
@pytest.mark.parametrize('with_setpriv', [True, False], ids=['setpriv', 'prctl'])
def test_either_way_of_dying_with_the_parent(with_setpriv, tmp_path):
    path = os.path.dirname(setpriv()) if with_setpriv else str(tmp_path)
    file = tmp_path / 'pid'
    parent = waiting_for(f'echo $$ > {file}; exec /bin/sleep 3000', path)
    try:
        (pid,) = pids_in(file, 1)
        assert is_alive(pid)
    finally:
        parent.kill()
        parent.wait()
    assert wait_until(lambda: not is_alive(pid)), 'it outlived its parent'
