import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement

from gfvideo.evaluation import ClipAccuracy, top_k_accuracy
from gfvideo.registry import METRICS

CLIPS, STEPS, CLASSES = 7, 3, 4


def clips(count=CLIPS, steps=STEPS, classes=CLASSES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, steps, classes, generator=generator)
    labels = torch.randint(classes, (count,), generator=generator)
    return [
        BaseDataElement(metainfo=dict(video_id=f'v{i}'), gt_label=labels[i], step_logits=logits[i])
        for i in range(count)
    ]


def test_metric_is_the_accuracy_after_each_step():
    samples = clips(30, classes=8)
    metric = METRICS.build(dict(type='ClipAccuracy'))
    found = Evaluator(metric).offline_evaluate(samples, chunk_size=4)
    logits, labels = torch.stack([s.step_logits for s in samples]), torch.stack([s.gt_label for s in samples])
    for step in range(STEPS):
        right = sum(int(logits[i, step].argmax() == labels[i]) for i in range(30))
        assert found[f'top1_step{step}'] == pytest.approx(right / 30)
    assert found['top1'] == found[f'top1_step{STEPS - 1}']
    assert found['top5'] == top_k_accuracy(logits[:, -1], labels, 5)
    per_class = [(logits[labels == c, -1].argmax(1) == c).float().mean().item() for c in labels.unique()]
    assert found['mean_class_accuracy'] == pytest.approx(sum(per_class) / len(per_class))
    assert found['top1_standard_error'] == pytest.approx((found['top1'] * (1 - found['top1']) / 30) ** 0.5)


def test_top5_of_fewer_classes_is_all_of_them():
    assert Evaluator(ClipAccuracy()).offline_evaluate(clips(classes=3))['top5'] == 1


def test_static_recognizer_has_one_step():
    found = Evaluator(ClipAccuracy()).offline_evaluate(clips(steps=1))
    assert {key for key in found if key.startswith('top1_step')} == {'top1_step0'}


def test_low_precision_logits_are_compared_as_they_are():
    samples = clips()
    for sample in samples:
        sample.step_logits = sample.step_logits.bfloat16()
    assert 0 <= Evaluator(ClipAccuracy()).offline_evaluate(samples)['top1'] <= 1


def test_costs_stand_beside_the_accuracies():
    metric = ClipAccuracy(costs=[0.1, 0.4, 0.7], prefix='val')
    found = Evaluator(metric).offline_evaluate(clips())
    assert [found[f'val/gmacs_step{s}'] for s in range(STEPS)] == [0.1, 0.4, 0.7]


def test_costs_must_be_one_per_step():
    with pytest.raises(ValueError, match='1 costs .* for 3 steps'):
        Evaluator(ClipAccuracy(costs=[1.0])).offline_evaluate(clips())


@pytest.mark.parametrize('field', ['gt_label', 'step_logits'])
def test_a_clip_without_label_or_prediction_is_named(field):
    samples = clips()
    del samples[3][field]
    with pytest.raises(ValueError, match=f"clip 'v3' has no {field}"):
        Evaluator(ClipAccuracy()).offline_evaluate(samples)


def test_clips_of_different_steps_are_refused():
    with pytest.raises(ValueError, match='differ in shape'):
        Evaluator(ClipAccuracy()).offline_evaluate(clips() + clips(steps=2))


def evaluate_share(rank, world, folder):
    """One of several processes: predicts the clips its sampler hands it, padding included, and evaluates with
    the others."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=world)
    samples = clips()
    own = list(DefaultSampler(samples, shuffle=False, round_up=True))
    assert len(own) == 4  # 2 * 4 > 7: one clip comes twice
    metric = Evaluator(ClipAccuracy(collect_dir=f'{folder}/collect'))
    metric.process([samples[i] for i in own])
    torch.save(metric.evaluate(len(samples)), f'{folder}/rank{rank}.pt')
    dist.destroy_process_group()


def test_padding_of_two_ranks_does_not_count(tmp_path):
    expected = Evaluator(ClipAccuracy()).offline_evaluate(clips())
    mp.spawn(evaluate_share, args=(2, str(tmp_path)), nprocs=2)
    for rank in range(2):
        assert torch.load(tmp_path / f'rank{rank}.pt', weights_only=True) == expected
