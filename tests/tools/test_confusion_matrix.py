"""The matrix of a made-up dump whose mistakes are known."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / 'tests/engine/three_stages.py')  # classes red, green, blue


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tests/engine'))
    spec = importlib.util.spec_from_file_location(
        'confusion_tool', ROOT / 'tools/analysis_tools/confusion_matrix.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(path, pairs, classes=3):
    """A dump with these (label, guess after the last step); the glance always guesses 0."""
    clips = [
        dict(gt_label=torch.tensor(label), step_logits=torch.eye(classes)[[0, guess]])
        for label, guess in pairs
    ]
    path.write_bytes(pickle.dumps(clips))
    return str(path)


PAIRS = [(0, 0), (0, 1), (0, 1), (1, 2), (2, 2), (2, 2), (2, 2), (2, 0)]


def test_the_most_frequent_confusions_are_told(tool, tmp_path, capsys):
    tool.main([CONFIG, write(tmp_path / 'clips.pkl', PAIRS)])
    assert capsys.readouterr().out.splitlines() == [
        '4 of 8 clips are right',
        ' clips  of class  true -> recognized as',
        '     2    66.7 %  red -> green',
        '     1   100.0 %  green -> blue',  # of equal counts the larger share
        '     1    25.0 %  blue -> red',
    ]
    tool.main([CONFIG, str(tmp_path / 'clips.pkl'), '--most', '1'])
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_no_confusion(tool, tmp_path, capsys):
    tool.main([CONFIG, write(tmp_path / 'clips.pkl', [(0, 0), (2, 2)])])
    assert 'no clip is taken for another class' in capsys.readouterr().out


def test_pictures_with_names_and_shares(tool, tmp_path):
    dump = write(tmp_path / 'clips.pkl', PAIRS)
    tool.main([CONFIG, dump, '--show-path', str(tmp_path / 'new' / 'plain.svg')])
    tool.main([CONFIG, dump, '--show-path', str(tmp_path / 'values.svg'), '--include-values'])
    plain, values = ((tmp_path / name).read_text() for name in ('new/plain.svg', 'values.svg'))
    assert '0 red' in plain and '2 blue' in plain and 'true class' in plain
    assert '>67<' in values and '>33<' in values and '>67<' not in plain  # rows sum to 100
    tool.main([CONFIG, dump, '--show-path', str(tmp_path / 'm.png')])
    assert cv2.imread(str(tmp_path / 'm.png')).std() > 20


def test_classes_by_number_where_the_dataset_is_not_there(tool, tmp_path, capsys):
    dataset = dict(type='ClipDataset', root=str(tmp_path), split='test', pipeline=[])
    cfg = Config(dict(test_dataloader=dict(dataset=dataset)))
    assert tool.class_names(cfg, 3) == ['class 0', 'class 1', 'class 2']
    assert 'shown by number' in capsys.readouterr().err


def test_what_is_wrong_is_told(tool, tmp_path, capsys):
    with pytest.raises(SystemExit, match='names 3 classes, the predictions have 4'):
        tool.main([CONFIG, write(tmp_path / 'four.pkl', [(0, 1)], classes=4)])
    with pytest.raises(SystemExit, match='FileNotFoundError: no predictions at'):
        tool.main([CONFIG, str(tmp_path / 'gone.pkl')])
    (tmp_path / 'bare.pkl').write_bytes(pickle.dumps([dict(video_id='a')]))
    with pytest.raises(SystemExit, match='without a label'):
        tool.main([CONFIG, str(tmp_path / 'bare.pkl')])
    with pytest.raises(SystemExit):
        tool.parse_args([CONFIG, 'a.pkl', '--show-path', 'a.gif'])
    assert '.png, .pdf, .svg' in capsys.readouterr().err


def test_a_checkpoint_is_tested_with_the_same_options(tool, tmp_path, monkeypatch, capsys):
    asked = []

    def run(command, **_):
        asked.append(command)
        write(Path(command[command.index('--dump') + 1]), PAIRS)
        return tool.subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(tool.subprocess, 'run', run)
    tool.main([CONFIG, 'run/', '--cfg-options', 'model.steps=1', 'randomness.seed=3', '--most', '2'])
    assert asked[0][2:4] == [CONFIG, 'run/'] and asked[0][-3:] == [
        '--cfg-options',
        'model.steps=1',
        'randomness.seed=3',
    ]
    assert '4 of 8' in capsys.readouterr().out
