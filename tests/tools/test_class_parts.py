"""Shares of right parts on a made-up test whose mistakes are known."""

import importlib.util
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

TOOL = Path(__file__).resolve().parents[2] / 'tools/analysis_tools/class_parts.py'
CLASSES = ['left a cup', 'left a fig', 'right a cup', 'right a fig']
PATTERN = r'(?P<way>left|right) a (\w+)'


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location('class_parts', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(folder, labels, guesses):
    clips = [
        dict(gt_label=label, step_logits=np.eye(4, dtype=np.float32)[list(row)])
        for label, row in zip(labels, guesses)
    ]
    (folder / 'predictions.pkl').write_bytes(pickle.dumps(clips))
    (folder / 'dataset.json').write_text(json.dumps(dict(classes=CLASSES)))
    return [str(folder / 'predictions.pkl'), str(folder), '--pattern']


def test_each_part_is_judged_by_itself(tool, tmp_path, capsys):
    # true: left cup, left fig, right cup, right fig; guesses after the glance and after a look
    guesses = [(1, 0), (0, 1), (0, 2), (3, 1)]
    tool.main([*write(tmp_path, range(4), guesses), PATTERN])
    assert capsys.readouterr().out.splitlines() == [
        '4 clips; % right after each step',
        'class        25.0 /  75.0',
        'way          75.0 /  75.0',  # of the glance the third is mistaken, of the look the last
        'part 2       50.0 / 100.0',
    ]


@pytest.mark.parametrize(
    'pattern, told', [('(left|right', 'no regular'), ('left', 'no .groups'), ('(left) a', "'right a cup'")]
)
def test_patterns_that_do_not_fit(tool, tmp_path, pattern, told):
    with pytest.raises(SystemExit, match=told):
        tool.main([*write(tmp_path, [0], [(0, 0)]), pattern])


def test_the_dataset_of_another_test(tool, tmp_path):
    arguments = write(tmp_path, [0], [(0, 0)])
    (tmp_path / 'dataset.json').write_text(json.dumps(dict(classes=CLASSES[:3])))
    with pytest.raises(SystemExit, match='names 3'):
        tool.main([*arguments, PATTERN])
