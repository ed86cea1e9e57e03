"""The benchmark of data preparation, on a few small clips: it measures what it says, no time is asserted."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis_tools' / 'benchmark_preparation.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('benchmark_preparation', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reading_and_rows(tool, painted_video, ffmpeg, tmp_path, capsys):
    tool.main(['reading', str(painted_video(40)), '--rounds', '2', '--tmp', str(tmp_path)])
    said = capsys.readouterr().out
    assert re.search(r'GOP 8: 8 spread frames in [\d.]+ ms', said) and 'all-intra' in said
    tool.main(['rows', '--clips', '60', '--tmp', str(tmp_path)])
    said = capsys.readouterr().out
    assert [line.split(':')[0] for line in said.splitlines()[1:]] == [
        'index',
        'verify, resumed',
        'lists',
        'verify, resumed, shard 0 of 8',
        'transcode, resumed, shard 0 of 8',
    ]
    assert not list(tmp_path.iterdir())


def test_shards(tool, painted_video, tmp_path, capsys):
    (tmp_path / 'clips').mkdir()
    for name in 'ab':
        shutil.copy(painted_video(9), tmp_path / 'clips' / f'{name}.mp4')
    tool.main(['shards', str(tmp_path / 'clips'), '--clips', '3', '--rounds', '2', '--tmp', str(tmp_path)])
    said = capsys.readouterr().out
    assert re.match(r'3 clips, 8 spread frames each, reader auto: [\d.]+ ms a clip from the shard', said)


def test_settings(tool, painted_video, ffmpeg, tmp_path, capsys):
    (tmp_path / 'videos').mkdir()
    shutil.copy(painted_video(30), tmp_path / 'videos/a.mp4')
    flags = ['--gop', '2', '8', '--crf', '20', '40', '--clips', '1', '--rounds', '1', '--tmp', str(tmp_path)]
    tool.main(['settings', str(tmp_path / 'videos'), *flags])
    rows = dict(line.split(': ', 1) for line in capsys.readouterr().out.splitlines()[1:])
    assert list(rows) == ['original', *(f'gop {gop}, crf {crf}' for gop in (2, 8) for crf in (20, 40))]
    assert rows['original'].startswith('1.00 times the bytes') and rows['original'].endswith('this 1.00')
    sizes = {name: float(text.split()[0]) for name, text in rows.items()}
    assert sizes['gop 8, crf 40'] < sizes['gop 8, crf 20'] <= sizes['gop 2, crf 20']


def test_clips_are_taken_again_when_there_are_too_few(tool, painted_video, tmp_path):
    for name in 'ab':
        shutil.copy(painted_video(5), tmp_path / f'{name}.mp4')
    assert [clip.path for clip in tool.clips_in(tmp_path, 5)] == ['a.mp4', 'b.mp4', 'a.mp4', 'b.mp4', 'a.mp4']


def test_ratios_are_of_cpu_time_and_a_busy_machine_is_told(tool, monkeypatch):
    """By the clock the second round took ten times as long: other work."""
    spent = iter([(1.0, 1.0), (2.0, 2.0), (20.0, 2.0), (1.0, 1.0)])
    monkeypatch.setattr(tool, 'seconds', lambda function: next(spent))
    monkeypatch.setattr(tool.Load, 'others', lambda load: 0.6)
    busy = tool.paired(lambda: None, lambda: None, 2)
    assert (busy.ours_ms, busy.plain_ms, busy.cpu, busy.wall) == (1000, 2000, [2, 2], [2, 20])
    assert 'other work took 60% of its processors' in str(busy)
    assert 'BUSY' not in str(busy._replace(others=0.05)) and 'BUSY' not in str(busy._replace(others=None))


def test_the_share_of_other_work(tool, monkeypatch, tmp_path):
    load = sys.modules[tool.Load.__module__]
    monkeypatch.setattr(os, 'cpu_count', lambda: 2)
    assert load.share_of_others(10.0, 5.0, 15.0) == 0.5
    assert load.share_of_others(10.0, 5.0, 4.9) == 0  # ticks are coarse
    assert load.share_of_others(10.0, 5.0, None) is None
    others = tool.Load().others()
    assert others is None or others >= 0
    ticks = os.sysconf('SC_CLK_TCK')
    (tmp_path / 'stat').write_text(f'cpu  {ticks} {ticks} {ticks} 777 777 0 {ticks} 0 0 0\ncpu0 1 2 3\n')
    assert load.all_work(tmp_path / 'stat') == 4
    assert load.all_work(tmp_path / 'missing') is None
