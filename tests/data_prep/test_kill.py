"""The script killed again and again, at random: what it has made in the end is what an undisturbed run
makes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20


def processes_of(session: int) -> list[int]:
    """Living processes of a session, and those that they started in sessions of their own."""
    parents, sessions = {}, {}
    for entry in Path('/proc').iterdir():
        if entry.name.isdigit():
            try:
                state, parent, _, of_session = (entry / 'stat').read_text().rpartition(')')[2].split()[:4]
            except OSError:
                continue
            if state not in 'ZX':
                parents[int(entry.name)], sessions[int(entry.name)] = int(parent), int(of_session)
    found = {pid for pid, of in sessions.items() if of == session}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def mentioning(folder: Path) -> list[str]:
    """Command lines of living processes that name the folder, or whose open files lie in it."""
    lines = []
    for entry in Path('/proc').iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                command = (entry / 'cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace')
                opened = [os.readlink(link) for link in (entry / 'fd').iterdir()]
                if any(str(folder) in text for text in (command, *opened)):
                    lines.append(f'{entry.name} {command}')
        except OSError:
            continue
    return lines


def killed(command: list[str], dice: random.Random, longest: float) -> tuple[int, bool]:
    """Start the command and kill the main process, or one of its tree, at a random time. Returns (exit
    status, whether one was killed)."""
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        return process.wait(dice.uniform(0.1, 0.9) * longest), False
    except subprocess.TimeoutExpired:
        pass
    victim = dice.choice([process.pid, *processes_of(process.pid)])
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        pass
    return process.wait(1500), True  # a run whose worker or decoder was killed goes on by itself


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
@pytest.mark.timeout(7200)
def test_killed_at_random(tmp_path, clip, lay, content):
    files = {f'train/{name}/{number}.mp4': clip(6 + number % 3) for name in 'ab' for number in range(4)}
    files |= {
        'val/a/x.webm': clip(9, '.webm'),
        'val/b/y.mkv': clip(7, '.mkv'),
        'val/b/page.mp4': b'<html>',
        'val/b/empty.mp4': b'',
    }
    data = ROOT.parent / 'shared' / 'data' / 'turning_camera_ssv2' / 'videos'
    if data.is_dir():
        files |= {f'val/a/real{number}.webm': path for number, path in enumerate(sorted(data.iterdir())[:2])}
    videos = lay(tmp_path / 'v', files)
    command = [
        sys.executable,
        str(ROOT / 'data_prep/folder.py'),
        '--videos',
        str(videos),
        '--workers',
        '2',
        '--max-failed',
        '0.5',
        '--name',
        'clips',
        '--steps',
        'index,verify,transcode,lists',
    ]
    started = time.monotonic()
    subprocess.run(
        [*command, '--out', str(tmp_path / 'whole')], check=True, timeout=1500, stderr=subprocess.DEVNULL
    )
    longest, wanted = time.monotonic() - started, content(tmp_path / 'whole')

    dice, kills, status = random.Random(7), 0, None
    while kills < KILLS or status != 0:
        status, hit = killed([*command, '--out', str(tmp_path / 'cut')], dice, longest)
        kills += hit
        end = time.monotonic() + 500
        while (left := mentioning(tmp_path / 'cut')) and time.monotonic() < end:
            time.sleep(0.05)
        assert not left, 'these outlive the run'
        assert status in (0, -signal.SIGKILL)
        if status == 0:
            assert content(tmp_path / 'cut') == wanted
            shutil.rmtree(tmp_path / 'cut')
    assert not mentioning(tmp_path)
