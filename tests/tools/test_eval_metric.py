"""Metrics of a dump beside those of the test that wrote it."""

from __future__ import annotations

import importlib.util
import json
import pickle
from pathlib import Path

import pytest
import torch

from gfvideo.engine import expand_stages, load_config
from gfvideo.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / 'tests/engine/three_stages.py')


def load(name):
    spec = importlib.util.spec_from_file_location(Path(name).stem, ROOT / 'tools' / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def tool():
    return load('analysis_tools/eval_metric.py')


@pytest.fixture
def toy(monkeypatch):
    """The toy dataset of the engine's tests can be imported."""
    monkeypatch.syspath_prepend(str(ROOT / 'tests/engine'))


def write(path, labels, guesses):
    """A dump of four classes: label and the class guessed after each of two steps."""
    path.write_bytes(
        pickle.dumps(
            [
                dict(video_id=f'v{n}', gt_label=torch.tensor(label), step_logits=torch.eye(4)[list(row)])
                for n, (label, row) in enumerate(zip(labels, guesses))
            ]
        )
    )
    return str(path)


def test_the_numbers_of_the_test_that_dumped(tool, toy, tmp_path, capsys):
    torch.manual_seed(0)
    cfg = expand_stages(load_config(CONFIG))[-1].cfg
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta={}), tmp_path / 'model.pth')
    dump = str(tmp_path / 'clips.pkl')
    load('test.py').main(
        [CONFIG, str(tmp_path / 'model.pth'), '--work-dir', str(tmp_path / 'work'), '--dump', dump]
    )
    tested = json.loads((tmp_path / 'work/test_results.json').read_text())['metrics']
    printed = capsys.readouterr().out
    assert tool.evaluate(tool.parse_args([CONFIG, dump])) == pytest.approx(tested, abs=1e-12)
    tool.main([CONFIG, dump])
    assert capsys.readouterr().out.strip() in printed  # the same lines


def test_metrics_of_a_made_up_dump(tool, toy, tmp_path, capsys):
    dump = write(tmp_path / 'clips.pkl', [0, 1, 2, 3], [(0, 0), (0, 1), (0, 2), (3, 1)])
    tool.main([CONFIG, dump])
    told = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert told['top1'] == '0.7500' and told['top1_step0'] == '0.5000'


def test_another_metric_by_option(tool, toy, tmp_path, capsys):
    dump = write(tmp_path / 'clips.pkl', [0, 1], [(0, 0), (0, 1)])
    tool.main([CONFIG, dump, '--cfg-options', 'test_evaluator.costs=1.0,2.0'])
    assert 'gmacs_step1' in capsys.readouterr().out


def test_what_is_wrong_is_told_in_a_line(tool, toy, tmp_path):
    (tmp_path / 'no_steps.pkl').write_bytes(pickle.dumps([dict(video_id='a', gt_label=torch.tensor(0))]))
    (tmp_path / 'broken.pkl').write_bytes(b'no pickle')
    for file, told in (
        ('gone.pkl', 'FileNotFoundError: no predictions at .*; make the file with'),
        ('broken.pkl', 'PredictionsError: .* is damaged'),
        ('no_steps.pkl', "ValueError: clip 'a' has no step_logits"),
    ):
        with pytest.raises(SystemExit, match=told) as left:
            tool.main([CONFIG, str(tmp_path / file)])
        assert len(str(left.value).splitlines()) == 1
    with pytest.raises(SystemExit, match='ConfigError: .*test_evaluator'):
        tool.main([CONFIG, write(tmp_path / 'a.pkl', [0], [(0, 0)]), '--cfg-options', 'test_evaluator=None'])
