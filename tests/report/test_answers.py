import pytest
import torch

from gfvideo.report import gather, read_run
from gfvideo.report.answers import ClipAnswers, answers_of, class_rows


def answers(labels, best, exits=None, classes=3):
    logits = torch.nn.functional.one_hot(torch.tensor(best), classes).float()  # (N, C)
    left = None if exits is None else torch.tensor(exits)
    return ClipAnswers('a.pkl', [], torch.tensor(labels), logits[:, None], left, 'as tested')


def test_classes_by_counting_them_by_hand():
    told = answers(labels=[0, 0, 0, 2, 2], best=[0, 1, 1, 2, 2], exits=[0, 1, 2, 0, 1])
    zero, two = class_rows(told, ['a', 'b', 'c'])  # class b has no clip
    assert (zero.name, zero.clips, zero.mean_exit, zero.mistaken_for) == ('a', 3, 1.0, ('b', 2))
    assert zero.accuracy == pytest.approx(1 / 3)
    assert tuple(two) == (2, 'c', 2, 1.0, 0.5, None)
    assert class_rows(answers([0], [0]), ['a', 'b', 'c'])[0].mean_exit is None


def test_exits_are_replayed_where_they_were_not_dumped(runs):
    found = answers_of(read_run(runs.looks))
    assert found.step_logits.shape == (18, 3, 3) and found.exits_from == 'replayed by exits.json'
    setting = next(iter(read_run(runs.looks).exits.values())).pick()
    told = sum(test['metrics']['top1'] for test in read_run(runs.looks).tests.values() if 'exits' in test)
    at_exit = found.step_logits[torch.arange(18), found.exits].argmax(1)
    assert (at_exit == found.labels).double().mean().item() == pytest.approx(told)  # as really tested
    assert len(setting.exits.thresholds) == 2


def test_exits_that_were_dumped_are_taken_as_they_are(runs):
    run = read_run(runs.looks)
    ((path, clips),) = run.dumps.items()
    run.dumps[path.with_name('exits.pkl')] = [
        dict(video_id=clip['video_id'], exit=torch.tensor(place % 2), looks=torch.tensor(place % 2))
        for place, clip in enumerate(clips)
    ]
    found = answers_of(run)
    assert found.exits.tolist() == [0, 1] * 9 and not found.streamed and 'as tested' in found.exits_from


def test_a_run_without_predictions_has_no_classes(runs):
    parts = gather([runs.bare])
    assert parts.answers == [None] and not parts.classes
    assert answers_of(read_run(runs.static)).exits is None
