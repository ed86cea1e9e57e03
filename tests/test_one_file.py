"""The method in one file: it runs, it learns, and it is the package's, number for number."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from gfvideo.exits import StepExits, run_clips
from gfvideo.registry import MODELS
from gfvideo.structures import ClipSample

FILE = Path(__file__).parents[1] / 'docs' / 'glance_focus_in_one_file.py'


@pytest.fixture(scope='module')
def one_file():
    spec = importlib.util.spec_from_file_location('glance_focus_in_one_file', FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pair(one_file):
    """The model of the file and that of the package, with the same weights and statistics."""
    torch.manual_seed(0)
    own = one_file.GlanceFocus()
    backbone = dict(type='TinyCNN', width=one_file.WIDTH)
    package = MODELS.build(
        dict(
            type='GlanceFocusRecognizer',
            glance=dict(type='Encoder', backbone=backbone, map_stride=4),
            focus=dict(type='Encoder', backbone=backbone),
            policy=dict(type='RecurrentGaussianPolicy', hidden=one_file.HIDDEN, reduced=one_file.REDUCED),
            classifier=dict(type='ConcatClassifier'),
            num_classes=one_file.CLASSES,
            glance_size=one_file.GLANCE,
            patch_size=one_file.PATCH,
            steps=one_file.STEPS,
            ppo=dict(gamma=one_file.GAMMA, lam=one_file.LAMBDA, clip=one_file.CLIP),
        )
    )
    with torch.no_grad():
        for _ in range(3):
            own.losses(*one_file.make_clips(8, torch.Generator().manual_seed(1)), 'random')
        for parameter in own.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    assert not package.load_state_dict(own.state_dict()).missing_keys
    return own.eval(), package.eval()


@pytest.fixture
def clips(one_file):
    return one_file.make_clips(6, torch.Generator().manual_seed(7))


def test_it_fits_on_a_few_pages_and_needs_torch_alone():
    lines = FILE.read_text(encoding='utf-8').splitlines()
    assert len(lines) <= 300
    imports = {line.split()[1].split('.')[0] for line in lines if line.startswith(('import', 'from'))}
    assert imports == {'torch', 'math', 'sys', 'collections', 'functools', 'typing'}


@torch.no_grad()
def test_looks_are_those_of_the_package(pair, clips):
    own, package = pair
    for ours, theirs in zip(own.looks(clips[0], 'policy'), package.looks(clips[0]), strict=True):
        torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.vector, theirs.vector, rtol=1e-4, atol=1e-5)
        if ours.step:
            torch.testing.assert_close(ours.centres, theirs.centres)


@pytest.mark.parametrize('how', ['random', 'centre'])
def test_losses_are_those_of_the_package(pair, clips, how):
    own, package = (model.train() for model in pair)
    package.policy.requires_grad_(False)
    package.train_centres = how
    totals = []
    for losses in (
        lambda: own.losses(*clips, how),
        lambda: sum(value for name, value in package.losses(*clips).items() if 'loss' in name),
    ):
        torch.manual_seed(3)
        totals.append(losses())
        totals[-1].backward()
    torch.testing.assert_close(*totals, rtol=1e-4, atol=1e-5)
    theirs = dict(package.named_parameters())
    for name, value in own.named_parameters():
        if not name.startswith('policy.'):
            torch.testing.assert_close(value.grad, theirs[name].grad, rtol=1e-3, atol=1e-4)


def test_ppo_is_that_of_the_package(one_file, pair, clips):
    own, package = pair
    frames, labels = clips
    samples = [ClipSample() for _ in labels]
    for sample, label in zip(samples, labels):
        sample.gt_label = label
    torch.manual_seed(5)
    record, advantages, returns = one_file.rollout(own, frames, labels)
    torch.manual_seed(5)
    rollout = package(frames, samples, mode='rollout')
    for step, (_, action, log_prob, value, reward) in enumerate(record):
        for ours, theirs in (
            (action, rollout.actions),
            (log_prob, rollout.log_probs),
            (value, rollout.values),
            (reward, rollout.rewards),
            (advantages[step], rollout.advantages),
            (returns[step], rollout.returns),
        ):
            torch.testing.assert_close(ours, theirs[:, step], rtol=1e-3, atol=1e-4)
    with torch.no_grad():  # a policy that has learned since
        for one, other in zip(own.policy.parameters(), package.policy.parameters()):
            one.add_(0.05 * one.sign())
            other.copy_(one)
    policy_loss, value_loss = one_file.policy_losses(own, record, advantages, returns)
    losses = package(rollout, mode='policy_loss')
    torch.testing.assert_close(policy_loss, losses['loss_policy'], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(value_loss, losses['loss_value'], rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_exits_are_those_of_the_package(one_file, pair, clips):
    own, package = pair
    frames = clips[0]
    sure = package.predict_steps(frames).step_logits.softmax(-1).amax(-1)  # (B, S+1)
    thresholds = [column.sort().values[2:4].mean().item() for column in sure[:, :-1].unbind(1)]
    logits, looks = one_file.run_with_exits(own, frames, thresholds)
    theirs = run_clips(package, frames, StepExits(thresholds))
    assert looks.tolist() == theirs.steps.tolist() and len(looks.unique()) > 1
    torch.testing.assert_close(logits, theirs.logits, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_it_learns_where_to_look(one_file):
    """After a third of its updates: far from what it reaches, and far from random."""
    torch.manual_seed(0)
    model = one_file.train(one_file.GlanceFocus(), updates=60)
    frames, labels = one_file.make_clips(200, torch.Generator().manual_seed(99))
    right = {}
    with torch.no_grad():
        for how in ('random', 'policy'):
            logits = model.looks(frames, how)[1].logits.mean(1)
            right[how] = (logits.argmax(1) == labels).float().mean().item()
    assert right['policy'] > right['random'] + 0.15, right


def test_it_runs_as_a_script(one_file, capsys):
    one_file.main(2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ['random', 'centre', 'policy', 'exits', 'exits', 'exits']
