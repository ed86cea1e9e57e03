"""Real runs that a signal ends in the middle, and runs whose worker is killed: one line, no child, no
temporary file, and the same command goes on."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_prep.common.command import run
from data_prep.common.interrupts import Interrupted, ended_by_signals
from data_prep.folder import main

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1500  # seconds, against a run that hangs
WORDS = 'what is done is kept: run the same command again to go on'
needs_proc = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')


def until(condition: Callable[[], object], process: subprocess.Popen) -> None:
    """Wait for something to happen while the process runs."""
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def parents() -> dict[int, int]:
    """Living process -> its parent."""
    found = {}
    for entry in Path('/proc').iterdir():
        try:
            if entry.name.isdigit():
                state, parent = (entry / 'stat').read_text().rpartition(')')[2].split()[:2]
                found |= {int(entry.name): int(parent)} if state not in 'ZX' else {}
        except OSError:
            continue
    return found


def children_of(pid: int) -> list[int]:
    return [child for child, parent in parents().items() if parent == pid]


def command_of(pid: int) -> str:
    try:
        return Path(f'/proc/{pid}/cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace')
    except OSError:
        return ''


def workers_of(pid: int) -> list[int]:
    return [child for child in children_of(pid) if 'spawn_main' in command_of(child)]


def mentioning(folder: Path) -> list[str]:
    return [line for pid in parents() if pid != os.getpid() and str(folder) in (line := command_of(pid))]


@pytest.fixture
def encoder(tmp_path, ffmpeg) -> str:
    """An ffmpeg that encodes the first clip it is given, and the others when there is a file ``go``."""
    program = tmp_path / 'slow-ffmpeg'
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *-i*) mkdir {tmp_path}/first 2>/dev/null || '
        f'while [ ! -e {tmp_path}/go ]; do sleep 0.05; done;; esac\nexec {ffmpeg} "$@"\n'
    )
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def started(tmp_path, clip, lay, encoder) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts the run on six clips, at the head of a session of its own, with signals as a terminal leaves
    them."""
    videos = lay(
        tmp_path / 'v',
        {f'train/{name}/{number}.mp4': clip(6 + number) for name in 'ab' for number in range(3)},
    )
    processes = []

    def start(out: Path) -> subprocess.Popen:
        command = [
            sys.executable,
            str(ROOT / 'data_prep/folder.py'),
            '--videos',
            str(videos),
            '--out',
            str(out),
            '--name',
            'clips',
            '--workers',
            '2',
            '--ffmpeg',
            encoder,
            '--steps',
            'index,verify,transcode,lists',
            '--time-limit',
            str(LIMIT),
        ]
        processes.append(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                start_new_session=True,
                preexec_fn=signals_as_usual,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def signals_as_usual() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def an_encoded_clip(out: Path) -> Callable[[], bool]:
    return lambda: any(file.stat().st_size for file in (out / 'work/transcode').glob('*.part'))


def ends_well(process: subprocess.Popen, out: Path, number: int) -> None:
    said = process.communicate(timeout=LIMIT)[1]
    assert process.returncode == 128 + number, said
    assert said.splitlines()[-1].endswith(f'interrupted by {signal.Signals(number).name}; {WORDS}')
    assert 'Traceback' not in said and 'Error' not in said
    assert not (out / 'work/tmp').exists()
    while mentioning(out):  # who is killed takes a moment to be gone
        time.sleep(0.01)


@needs_proc
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize('to_all', [True, False], ids=['to the group', 'to the run'])
def test_a_signal_while_clips_are_encoded(started, tmp_path, content, number, to_all):
    out = tmp_path / 'out'
    process = started(out)
    until(an_encoded_clip(out), process)
    (os.killpg if to_all else os.kill)(process.pid, number)
    ends_well(process, out, number)
    assert len(list((out / 'videos').rglob('*.mp4'))) == 1 and not (out / 'dataset.json').exists()

    (tmp_path / 'go').touch()
    for folder in (out, tmp_path / 'whole'):
        process = started(folder)
        assert process.communicate(timeout=LIMIT) and process.returncode == 0
    assert content(out) == content(tmp_path / 'whole')


@needs_proc
def test_ctrl_c_while_workers_start(started, tmp_path):
    """A terminal sends it to all; those that still import say nothing."""
    process = started(tmp_path / 'out')
    until(lambda: workers_of(process.pid), process)
    os.killpg(process.pid, signal.SIGINT)
    ends_well(process, tmp_path / 'out', signal.SIGINT)


@needs_proc
def test_ctrl_c_again_and_again(started, tmp_path):
    process = started(tmp_path / 'out')
    until(an_encoded_clip(tmp_path / 'out'), process)
    while process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.001)
    ends_well(process, tmp_path / 'out', signal.SIGINT)


@needs_proc
def test_a_killed_worker(started, tmp_path, content):
    out = tmp_path / 'out'
    process = started(out)
    until(an_encoded_clip(out), process)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    (tmp_path / 'go').touch()
    said = process.communicate(timeout=LIMIT)[1]
    assert process.returncode == 0 and 'Traceback' not in said, said
    assert not (out / 'work/tmp').exists() and len(list((out / 'videos').rglob('*.mp4'))) == 6
    process = started(tmp_path / 'whole')
    assert process.communicate(timeout=LIMIT) and content(out) == content(tmp_path / 'whole')


def test_what_was_ignored_stays_ignored():
    """Under nohup, and in the background of a script."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_given_back():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with pytest.raises(ZeroDivisionError), ended_by_signals():
        raise ZeroDivisionError
    assert before == {number: signal.getsignal(number) for number in before}


# ---- while archives are unpacked


@pytest.fixture
def packed(tmp_path, clip, lay) -> list[str]:
    """Arguments of a run on a zip with three clips."""
    from zipfile import ZipFile

    with ZipFile(tmp_path / 'clips.zip', 'w') as archive:
        for frames in (6, 7, 9):
            archive.write(clip(frames), f'{frames}.mp4')
    (tmp_path / 'clips.csv').write_text(
        'path,label,split\n' + ''.join(f'{frames}.mp4,0,train\n' for frames in (6, 7, 9))
    )
    return [
        '--videos',
        str(tmp_path / 'clips.zip'),
        '--annotations',
        str(tmp_path / 'clips.csv'),
        '--form',
        'csv',
        '--to',
        'original',
        '--workers',
        '1',
        '--steps',
        'unpack,index,verify,lists',
        '--out',
        str(tmp_path / 'out'),
    ]


def test_an_interruption_between_members(here, packed, tmp_path, monkeypatch, caplog):
    """The first has got its name; the second is written, and has not."""
    replace, written = os.replace, []

    def interrupted(temporary, target):
        if 'source' in Path(target).parts:
            if written:
                raise Interrupted(signal.SIGTERM)
            written.append(Path(target).name)
        replace(temporary, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, 'replace', interrupted)
        assert run(main, packed) == 143
    assert caplog.records[-1].message == f'interrupted by SIGTERM; {WORDS}'
    assert [path.name for path in (tmp_path / 'out/source').rglob('*.*')] == written and not (
        tmp_path / 'out/work/tmp'
    ).exists()
    assert run(main, packed) == 0


@pytest.mark.parametrize('before', ['', 'unpack', 'unpack,index', 'unpack,index,verify'])
def test_archives_on_a_full_disk(packed, tmp_path, before):
    """With a real limit for the size of files: of the archive's members, or of the records and lists that
    come later."""
    command = [sys.executable, str(ROOT / 'data_prep/folder.py'), *packed]
    if before:
        subprocess.run([*command, '--steps', before], check=True, capture_output=True, timeout=LIMIT)
    full = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60, resource.RLIM_INFINITY)),
    )
    assert full.returncode == 1 and 'Traceback' not in full.stderr, full.stderr
    assert full.stderr.splitlines()[-1].endswith(
        'make room and run the same command again: it goes on where it stopped'
    )
    assert not (tmp_path / 'out/work/tmp').exists() and not (tmp_path / 'out/dataset.json').exists()
    again = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert again.returncode == 0, again.stderr
