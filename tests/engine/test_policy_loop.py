"""The policy's loop around a stand-in model that notes what it is asked, and the autocast wrapper."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import nn
from torch.utils.data import DataLoader

from gfvideo.engine import AutocastOptimWrapper, DatasetEpochHook, JointLoop, PolicyLoop
from gfvideo.registry import MODELS
from gfvideo.structures import ClipSample


class Rollout:
    def __init__(self, rows: torch.Tensor):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, rows: torch.Tensor) -> Rollout:
        return Rollout(self.rows[rows])


class Notes(BaseModel):
    """Its 'policy' is one number; every call is noted."""

    def __init__(self, kls: tuple[float, ...] = (0.0,)):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.kls, self.parts, self.rollouts, self.progress, self.grad = iter(kls * 100), [], [], [], []

    def set_progress(self, fraction: float) -> None:
        self.progress.append(fraction)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'rollout':
            self.rollouts.append(inputs.flatten().tolist())
            self.grad.append(torch.is_grad_enabled())
            return Rollout(torch.arange(len(inputs)))
        assert mode == 'policy_loss' and data_samples is None and torch.is_grad_enabled()
        self.parts.append(inputs.rows.tolist())
        return dict(
            loss_policy=self.weight.sum(),
            approx_kl=torch.tensor(next(self.kls)),
            reward_step1=torch.tensor(float(len(self.parts))),
        )


def collate(items):
    return dict(inputs=torch.tensor(items)[:, None], data_samples=None)


def build(model: nn.Module, clips: int = 10, batch_size: int = 5, optim: dict | None = None, **kwargs):
    """A loop around a stand-in runner, and what the hooks were told."""
    calls = []
    runner = SimpleNamespace(
        model=model,
        optim_wrapper=OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), **(optim or {})),
        visualizer=SimpleNamespace(),
        message_hub=MessageHub.get_instance('test_policy_loop'),
        val_loop=None,
        world_size=1,
        rank=0,
        call_hook=lambda name, **kwargs: calls.append((name, kwargs)),
    )
    loop = PolicyLoop(
        runner, DataLoader(list(range(clips)), batch_size, collate_fn=collate), max_epochs=2, **kwargs
    )
    return loop, SimpleNamespace(calls=calls, runner=runner)


def test_a_batch_is_rolled_out_once_and_learned_from_in_parts():
    model = Notes()
    loop, seen = build(model, update_epochs=3, minibatches=2)
    loop.run()
    assert model.rollouts == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]] * 2 and not any(model.grad)
    assert len(model.parts) == 4 * 3 * 2
    for first, second in zip(model.parts[::2], model.parts[1::2]):
        assert sorted(first + second) == [0, 1, 2, 3, 4] and len(first) == 3
    assert len({tuple(part) for part in model.parts[::2]}) > 3  # drawn anew for every pass
    assert model.progress == [0, 0.25, 0.5, 0.75] and loop.iter == 4 and loop.epoch == 2
    torch.testing.assert_close(model.weight.data, torch.ones(1) - 0.1 * 24)  # every update was made
    names = [name for name, _ in seen.calls]
    epoch = ['before_train_epoch', *['before_train_iter', 'after_train_iter'] * 2, 'after_train_epoch']
    assert names == ['before_train', *epoch, *epoch, 'after_train']
    outputs = [kwargs['outputs'] for name, kwargs in seen.calls if name == 'after_train_iter']
    assert outputs[0]['updates'] == 6 and outputs[0]['reward_step1'] == 3.5  # mean of 1..6
    assert [kwargs['batch_idx'] for name, kwargs in seen.calls if name == 'after_train_iter'] == [0, 1, 0, 1]


def test_a_part_holds_a_clip_at_least():
    model = Notes()
    loop, _ = build(model, clips=2, batch_size=2, update_epochs=1, minibatches=8)
    loop.run()
    assert [len(part) for part in model.parts] == [1, 1] * 2


def test_passes_stop_when_the_policy_has_moved_far_enough():
    model = Notes(kls=(0.0, 0.01, 0.02, 0.04))  # mean of the passes: 0.005, 0.03
    loop, _ = build(model, clips=5, update_epochs=4, minibatches=2, target_kl=0.02)
    loop.learn(next(iter(loop.dataloader)))
    assert len(model.parts) == 4


def test_what_learns_values_has_no_divergence_to_stop_at():
    class Values(Notes):
        def forward(self, inputs, data_samples=None, mode='tensor'):
            told = super().forward(inputs, data_samples, mode)
            return {k: v for k, v in told.items() if k != 'approx_kl'} if mode == 'policy_loss' else told

    model = Values()
    loop, _ = build(model, clips=5, update_epochs=3, minibatches=2)
    loop.learn(next(iter(loop.dataloader)))
    assert len(model.parts) == 6
    loop, _ = build(Values(), target_kl=0.02)
    with pytest.raises(ValueError, match='target_kl is for policies that learn by PPO'):
        loop.learn(next(iter(loop.dataloader)))


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(update_epochs=0), 'update_epochs=0'),
        (dict(minibatches=0), 'minibatches=0'),
        (dict(target_kl=0), 'target_kl=0 must be positive'),
    ],
)
def test_numbers_out_of_range(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(Notes(), **kwargs)


def test_accumulated_gradients_are_refused():
    loop, _ = build(Notes(), optim=dict(accumulative_counts=2))
    with pytest.raises(
        ValueError,
        match='accumulative_counts=2: PolicyLoop makes several updates per batch; use fewer minibatches',
    ):
        loop.run()


def test_a_cut_epoch_of_another_length_is_refused():
    loop, seen = build(Notes(), batch_size=2)
    seen.runner.message_hub.update_info('epoch_length', 7)
    loop._epoch, loop._iter = 1, 10
    with pytest.raises(
        ValueError,
        match='after 3 of 7 batches of epoch 2, now an epoch has 5: resume with the same batch size',
    ):
        loop.run()
    seen.runner.message_hub.pop_info('epoch_length')


def test_datasets_and_those_inside_are_told_the_epoch():
    told = []
    bare = SimpleNamespace(set_epoch=lambda epoch: told.append((epoch,)))
    seeded = SimpleNamespace(set_epoch=lambda epoch, seed: told.append((epoch, seed)), dataset=bare)
    runner = SimpleNamespace(
        epoch=4,
        seed=9,
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(datasets=[seeded, object()])),
    )
    DatasetEpochHook().before_train_epoch(runner)
    assert told == [(4, 9), (4,)]


# --------------------------------------------------------------------------------------------------- autocast


def test_autocast_on_the_devices_own_terms():
    model = nn.Linear(4, 2)
    wrapper = AutocastOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        out = model(torch.randn(3, 4))
    assert out.dtype == torch.bfloat16 and not torch.is_autocast_enabled('cpu')
    wrapper.update_params(out.float().pow(2).mean())
    assert model.weight.dtype == torch.float32 and not torch.equal(before, model.weight)


def test_autocast_takes_bfloat16_alone():
    with pytest.raises(ValueError, match="dtype='float16': only 'bfloat16'"):
        AutocastOptimWrapper('float16', optimizer=torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1))


def joint(**options):
    """A recognizer of looks and its loop, which learns encoders and policy by turns."""
    torch.manual_seed(0)
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4)
    model = MODELS.build(
        dict(
            type='GlanceFocusRecognizer',
            glance=encoder,
            focus=encoder,
            policy=dict(type='RecurrentGaussianPolicy', hidden=8, reduced=4),
            classifier=dict(type='ConcatClassifier'),
            num_classes=3,
            glance_size=16,
            patch_size=12,
            steps=2,
            train_centres='sample',
        )
    )
    runner = SimpleNamespace(
        model=model, optim_wrapper=OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)), val_loop=None
    )
    return JointLoop(runner, DataLoader([0]), max_epochs=1, minibatches=1, **options), model


def clips():
    generator = torch.Generator().manual_seed(1)
    frames = torch.randint(0, 255, (4, 2, 3, 30, 40), dtype=torch.uint8, generator=generator)
    return dict(
        inputs=list(frames), data_samples=[ClipSample(gt_label=torch.tensor(i % 3)) for i in range(4)]
    )


def test_encoders_learn_every_time_and_the_policy_when_its_turn_has_come():
    loop, model = joint(policy_interval=2, update_epochs=1)
    model.train()
    for iteration in range(4):
        loop._iter = iteration
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        logs = loop.learn(clips())
        moved = {
            name.split('.')[0] for name, value in model.named_parameters() if not value.equal(before[name])
        }
        turn = iteration % 2 == 1
        assert moved - {'policy'} == set(model.parts()) - {'policy'} and ('policy' in moved) == turn
        assert ('reward_step1' in logs) == turn and 'loss_step2' in logs
        assert all(parameter.requires_grad for parameter in model.policy.parameters())
    with pytest.raises(ValueError, match='policy_interval=0'):
        joint(policy_interval=0)
