"""The benchmark of data preparation, on a few small clips: it measures what it says, no time is asserted."""

from __future__ import annotations

import importlib.util
import re
import shutil
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
    assert [line.split(':')[0] for line in said.splitlines()[1:]] == ['index', 'verify, resumed', 'lists']
    assert not list(tmp_path.iterdir())


def test_clips_are_taken_again_when_there_are_too_few(tool, painted_video, tmp_path):
    for name in 'ab':
        shutil.copy(painted_video(5), tmp_path / f'{name}.mp4')
    assert [clip.path for clip in tool.clips_in(tmp_path, 5)] == ['a.mp4', 'b.mp4', 'a.mp4', 'b.mp4', 'a.mp4']
