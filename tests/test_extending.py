"""The page on extending: its parts, written from the base classes alone, train, stream, are counted,
calibrated and exported as those of the package are."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from gfvideo.apis import init_recognizer
from gfvideo.complexity import recognizer_cost
from gfvideo.conversion import FORMS
from gfvideo.deployment import OnnxRecognizer, export_recognizer
from gfvideo.engine import (
    ExitingRecognizer,
    check_exits,
    check_stages,
    describe_model,
    expand_stages,
    latest_checkpoint,
    load_checkpoint,
    run_stages,
)
from gfvideo.exits import (
    CRITERIA,
    Decision,
    ExitRule,
    ExitsFileError,
    StepExits,
    calibrate_steps,
    calibrate_stream,
    confidence,
    read_exits,
    record_clips,
    replay_clips,
    replay_stream,
    run_clips,
    run_stream,
    write_exits,
)
from gfvideo.models import REWARDS, Choice, Geometry, Policy, StochasticPolicy, cell_centres
from gfvideo.registry import DATASETS, MODELS

PAGE = (Path(__file__).parents[1] / 'docs' / 'extending.md').read_text(encoding='utf-8')
FILES = dict(re.findall(r'```python\n# (\w+)\.py\n(.*?)```', PAGE, re.DOTALL))
T = 4


@pytest.fixture(scope='module', autouse=True)
def written(tmp_path_factory):
    """The files of the page in a folder of a user, registered as long as these tests run."""
    folder = tmp_path_factory.mktemp('user')
    for name, code in FILES.items():
        (folder / f'{name}.py').write_text(code)
    registries = MODELS.module_dict, DATASETS.module_dict, REWARDS, CRITERIA, FORMS
    before = [set(one) for one in registries]
    sys.path.insert(0, str(folder))
    for name in FILES:
        importlib.import_module(name)
    yield folder
    sys.path.remove(str(folder))
    for name in FILES:
        del sys.modules[name]
    for registry, names in zip(registries, before):
        for name in set(registry) - names:
            del registry[name]


@pytest.mark.parametrize('name', FILES)
def test_a_part_takes_less_than_sixty_lines(name):
    assert len([line for line in FILES[name].splitlines() if line.strip()]) < 60


def encoder(shift='bidirectional'):
    return dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift=shift, map_stride=4)


def looking(policy, **options):
    return dict(
        type='GlanceFocusRecognizer',
        num_classes=3,
        glance=encoder(),
        focus=encoder(),
        glance_size=16,
        patch_size=16,
        steps=2,
        policy=dict(type=policy),
        classifier=dict(type='AddingClassifier'),
        **options,
    )


def config(model, stages=None, **options) -> Config:
    def loader(**dataset):
        return dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=bool(dataset)),
            dataset=dict(type='MovingBars', num_frames=T, **dataset),
        )

    return Config(
        dict(
            default_scope='gfvideo',
            custom_imports=dict(imports=list(FILES), allow_failed_imports=False),
            model=model,
            train_dataloader=loader(clips=8, split='train'),
            test_dataloader=loader(),
            test_cfg=dict(),
            test_evaluator=dict(type='ClipAccuracy'),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-2)),
            default_hooks=dict(checkpoint=dict(type='SafeCheckpointHook')),
            randomness=dict(seed=0),
            **(dict(stages=stages) if stages else {}),
            **options,
        )
    )


def train(cfg, folder) -> Path:
    """As tools/train.py does; the checkpoint of the last stage."""
    cfg.work_dir = str(folder)
    stages = expand_stages(cfg)
    check_stages(stages)
    run_stages(stages)
    return latest_checkpoint(stages[-1].cfg.work_dir)


def weights(file: Path, part: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in load_checkpoint(file)['state_dict'].items() if key.startswith(part)}


def clips(count: int = 12, split: str = 'val') -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised frames ``(N, T, 3, 32, 40)`` and labels."""
    dataset = DATASETS.build(dict(type='MovingBars', clips=count, num_frames=T, split=split))
    items = [dataset[i] for i in range(count)]
    frames = MODELS.build(dict(type='ClipPreprocessor'))(dict(inputs=[item['inputs'] for item in items]))
    return frames['inputs'], torch.tensor([int(item['data_samples'].gt_label) for item in items])


# ---- policies, a reward and a classifier: stages of training


ENCODERS = ('glance_encoder', 'focus_encoder', 'classifier', 'glance_head', 'focus_head')


def test_a_policy_that_draws_trains_by_ppo_in_stages(tmp_path):
    stages = [
        dict(name='random', model=dict(train_centres='random', frozen=('policy',))),
        dict(name='policy', train_cfg=dict(type='PolicyLoop'), model=dict(frozen=ENCODERS)),
        dict(name='tune', model=dict(train_centres='mean', frozen=('policy',))),
    ]
    ppo = dict(entropy_weight=0.01)
    last = train(config(looking('CellPolicy', reward='bounded', ppo=ppo), stages), tmp_path)
    first, second = (latest_checkpoint(tmp_path / stage) for stage in ('random', 'policy'))
    before, after = weights(first, 'policy.'), weights(second, 'policy.')
    assert not any(torch.equal(before[name], after[name]) for name in before)
    assert all(torch.equal(value, weights(last, 'policy.')[name]) for name, value in after.items())
    model = init_recognizer(None, last)
    centres = model.predict_steps(clips()[0]).centres  # (N, S, T, 2)
    assert centres.shape == (12, 2, T, 2) and len(centres.flatten(0, 2).unique(dim=0)) > 1


def test_a_differentiable_policy_trains_with_the_encoders(tmp_path):
    cfg = config(looking('SoftAim', train_centres='mean'))
    before = {name: value.clone() for name, value in build(cfg.model).policy.state_dict().items()}
    after = weights(train(cfg, tmp_path), 'policy.')
    assert not any(torch.equal(before[name], after[f'policy.{name}']) for name in before)
    model = init_recognizer(None, latest_checkpoint(tmp_path))
    frames, _ = clips()
    states = model.looks(frames)
    patch = states[1].centres[0, 0] * torch.tensor([32 - 16, 40 - 16])  # at test cut exactly, at whole pixels
    y, x = patch.floor().long().tolist()
    seen = model.focus_encoder(frames[:1, :, :, y : y + 16, x : x + 16]).vector
    alone = model.focus(frames[:1], model.glance(frames[:1]), states[1].centres[:1, :1].expand(1, T, 2))
    torch.testing.assert_close(alone.vector, seen)


def test_a_policy_without_weights_needs_no_stage(tmp_path):
    model = init_recognizer(None, train(config(looking('LoudestCell', train_centres='mean')), tmp_path))
    frames, _ = clips()
    state = model.glance(frames)
    loud = state.feature_map.square().mean(2)  # (N, T, h, w)
    first = model.focus(frames, state)
    h, w = loud.shape[-2:]
    ys, xs = cell_centres((h, w), Geometry((32, 40), (16, 16)))
    best = loud.flatten(2).argmax(-1)
    torch.testing.assert_close(first.centres, torch.stack([ys[best // w], xs[best % w]], -1))


class Stubborn(Policy):
    """It has weights, and nobody tells them anything."""

    def __init__(self):
        super().__init__()
        self.at = torch.nn.Parameter(torch.zeros(2))

    def forward(self, observation):
        B, T = observation.feature_map.shape[:2]
        return Choice(self.at.sigmoid().expand(B, T, 2))


@pytest.mark.parametrize(
    'policy, options, told',
    [
        (Stubborn, dict(train_centres='mean'), 'neither a StochasticPolicy nor a DifferentiablePolicy'),
        ('CellPolicy', dict(train_centres='mean'), 'learns by PPO alone'),
        ('SoftAim', dict(train_centres='random'), "train_centres='random' never asks it"),
    ],
)
def test_a_policy_that_would_get_no_gradient_is_refused(policy, options, told):
    model = build(looking(policy, **options)).train()
    with pytest.raises(ValueError, match=rf"{told}.*model.frozen=\('policy',\)"):
        model.losses(*clips(2))
    model.policy.requires_grad_(False)
    model.losses(*clips(2))


@pytest.mark.parametrize(
    'policy, options, told',
    [
        ('SoftAim', {}, 'is no StochasticPolicy'),
        ('CellPolicy', dict(frozen=('policy',)), 'it is frozen'),
    ],
)
def test_a_policy_that_ppo_cannot_train_is_refused(policy, options, told):
    frames, labels = clips(2)
    with pytest.raises((TypeError, ValueError), match=told):
        build(looking(policy, **options)).rollout(frames, labels)


def test_draws_are_asked_of_policies_that_draw():
    with pytest.raises(ValueError, match="test_centres='sample' asks the policy for draws, but SoftAim"):
        build(looking('SoftAim', test_centres='sample'))


class Mute(StochasticPolicy):
    """It draws, and does not say how likely that was."""

    def forward(self, observation):
        return Choice(self.for_frames(torch.rand(len(observation.feature_map), 1, 2), observation))

    def draw(self, observation):
        return self(observation)

    def evaluate(self, observation, action):
        return self(observation)


def test_a_draw_that_says_too_little_is_refused():
    frames, labels = clips(2)
    model = build(looking(Mute))
    model.policy.weight = torch.nn.Parameter(torch.zeros(()))
    with pytest.raises(TypeError, match=r'value of a choice of Mute is None; PPO needs \(B, A\) = \(2, 4\)'):
        model.rollout(frames, labels)


# ---- a recognizer from the base class alone


@pytest.fixture(scope='module')
def fading(tmp_path_factory):
    """Trained, from its checkpoint."""
    folder = tmp_path_factory.mktemp('fading')
    file = train(config(dict(type='FadingRecognizer', num_classes=3)), folder)
    return init_recognizer(None, file), file


def test_a_recognizer_streams_as_it_reads_clips(fading):
    model, frames = fading[0], clips()[0]
    with torch.no_grad():
        expected = model.looks(frames)[-1].logits  # (N, T, C)
        stream = model.stream()
        read = [stream.read(frames[:, t]) for t in range(T)]
    torch.testing.assert_close(torch.stack([one.frame_logits for one in read], 1), expected)
    torch.testing.assert_close(read[-1].logits, expected.mean(1))


def test_a_recognizer_is_counted(fading):
    cost = recognizer_cost(fading[0], (T, 3, 32, 40))
    one = 6 * 6 * 16 * 75 + 2 * 2 * 32 * 16 * 9
    assert cost['parts'] == dict(network=T * one, fc=T * 32 * 3)
    assert cost['steps'] == [T * (one + 96), 2 * T * (one + 96)]


def test_a_recognizer_is_exported(fading, tmp_path):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    model, frames = fading[0], clips()[0]
    export_recognizer(model, tmp_path / 'graphs', num_frames=T, frame_size=(32, 40))
    graphs = OnnxRecognizer(tmp_path / 'graphs', threads=1)
    with torch.no_grad():
        for ours, theirs in zip(graphs.looks(frames), model.looks(frames)):
            torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-4, atol=1e-4)
    assert describe_model(graphs) == describe_model(model)


def test_a_recognizer_is_calibrated_for_clips_and_streams(fading, tmp_path):
    model, (frames, labels) = fading[0], clips(40)
    cost = [steps / 1e9 for steps in recognizer_cost(model, (T, 3, 32, 40))['steps']]
    with torch.no_grad():
        logits = model.predict_steps(frames).step_logits
    source = dict(model=describe_model(model))
    write_exits(tmp_path / 'exits.json', calibrate_steps(logits, labels, dict(gmacs=cost), source=source))
    found = read_exits(tmp_path / 'exits.json')
    check_exits(found, model, 'exits.json')
    for setting in found.sweep:
        ran = run_clips(model, frames, setting.exits)
        assert torch.bincount(ran.steps, minlength=2).tolist() == list(setting.counts)
    a_look = [cost[0] / T, (cost[1] - cost[0]) / T]
    streams = calibrate_stream(
        lambda exits: run_stream(model, frames, exits), labels, dict(gmacs=a_look), model.steps
    )
    for setting in streams.sweep:
        ran = run_stream(model, frames, setting.exits)
        assert (ran.logits.argmax(1) == labels).double().mean().item() == pytest.approx(setting.accuracy)
    other = build(dict(type='FadingRecognizer', num_classes=3, fade=0.9)).eval()
    other.load_state_dict(model.state_dict())
    with pytest.raises(ExitsFileError, match='fade 0.5 there and 0.9 here'):
        check_exits(found, other, 'exits.json')


# ---- a criterion and a learned gate


def test_a_criterion_is_taken_by_its_name():
    logits = torch.tensor([[2.0, 1.0, 0.0], [3.0, 3.0, 0.0]]).double()
    torch.testing.assert_close(confidence(logits, 'ratio'), torch.tensor([1 - math.exp(-1), 0.0]).double())
    rule = StepExits((0.5,), criterion='ratio')
    assert rule.decide(logits, 0).enough.tolist() == [True, False]
    with pytest.raises(ValueError, match="criterion='likelihood' is unknown.*'ratio'"):
        StepExits((0.5,), criterion='likelihood')


def test_a_learned_gate_is_calibrated_kept_and_runs_as_replayed(fading, tmp_path):
    import calibrate_my_gate

    model, file = fading
    calibrate_my_gate.calibrate(model.cfg, file, 'val', tmp_path / 'exits.json')
    found = read_exits(tmp_path / 'exits.json')
    check_exits(found, model, 'exits.json')
    frames, labels = clips(32)
    assert {type(setting.exits).__name__ for setting in found.sweep} == {'GatedSteps'}
    assert found.sweep[0].exits.weights != (1.0, 0.0, 0.0, 0.0)
    for setting in found.sweep:
        for sample in ExitingRecognizer(model, setting.exits).eval()(frames):
            assert sample.exit == sample.replay_exit
            torch.testing.assert_close(sample.logits, sample.replay_logits)


def test_a_learned_gate_streams(fading):
    from my_gate import GatedStream, learn

    model, (frames, labels) = fading[0], clips(24)
    full = run_stream(model, frames, None)
    gate = GatedStream(
        (math.inf,), weights=learn(full.frame_logits.flatten(0, 1), labels.repeat_interleave(T))
    )
    costs = [1.0, 2.0]
    found = calibrate_stream(
        lambda exits: run_stream(model, frames, exits), labels, dict(gmacs=costs), 1, rule=gate
    )
    assert len(found.sweep) > 1 and {type(one.exits) for one in found.sweep} == {GatedStream}
    for setting in found.sweep:
        ran = run_stream(model, frames, setting.exits)
        trace = run_stream(model, frames, setting.exits.recording())
        outcome = replay_stream(trace, labels, setting.exits, costs)
        assert (ran.num_frames - 1).tolist() == outcome.positions.tolist()
        assert tuple(torch.bincount(outcome.positions, minlength=len(setting.counts))) == setting.counts


class AtLeastTwoFrames(ExitRule):
    """No score, no thresholds: one look at the first frame, all looks at the second, and that is all."""

    steps = 1

    def decide(self, logits, step, frame=None, state=None):
        assert state.step == step
        enough = torch.full((len(logits),), frame == 0 or step == 1)
        return Decision(enough, enough & (frame is not None and frame >= 1))


def test_a_rule_without_a_score(fading):
    model, frames = fading[0], clips()[0]
    ran = run_stream(model, frames, AtLeastTwoFrames())
    assert (ran.num_frames == 2).all() and ran.looks[:, :2].tolist() == [[0, 1]] * len(frames)
    assert (run_clips(model, frames, AtLeastTwoFrames()).steps == 1).all()
    samples = ExitingRecognizer(model, AtLeastTwoFrames()).eval()(frames)
    assert all(sample.exit == 1 and 'replay_exit' not in sample for sample in samples)


class Uncertain(StepExits):
    """A score from what the look left, not from the prediction."""

    def score(self, logits, step, frame=None, state=None):
        return state.vector.mean((1, 2)).sigmoid().double()


def test_a_score_of_what_a_look_left_is_recorded_to_be_replayed(fading):
    model, (frames, labels) = fading[0], clips()
    trace = record_clips(model, frames, Uncertain((1.0,)))
    threshold = trace.scores[:, 0].sort().values[5:7].mean().item()
    rule = Uncertain((threshold,))
    outcome = replay_clips(trace.step_logits, labels, rule, [1.0, 2.0], trace.scores)
    assert outcome.exits.tolist() == [6, 6]
    assert run_clips(model, frames, rule).steps.tolist() == outcome.positions.tolist()
    found = calibrate_steps(trace.step_logits, labels, dict(gmacs=[1.0, 2.0]), rule=rule, scores=trace.scores)
    assert {type(setting.exits) for setting in found.sweep} == {Uncertain}


def test_a_file_of_a_rule_that_is_not_there_says_so(fading, tmp_path):
    from my_gate import GatedSteps

    logits, labels = torch.randn(20, 2, 3), torch.arange(20) % 3
    found = calibrate_steps(logits, labels, dict(gmacs=[1.0, 2.0]), rule=GatedSteps((1.0,)))
    write_exits(tmp_path / 'exits.json', found)
    text = (tmp_path / 'exits.json').read_text()
    content = json.loads(text.replace('GatedSteps', 'NoSuchGate'))
    del content['hash']
    (tmp_path / 'exits.json').write_text(json.dumps(content))
    with (
        pytest.warns(UserWarning, match='no hash'),
        pytest.raises(ExitsFileError, match="exit rule 'NoSuchGate' is unknown; import the module"),
    ):
        read_exits(tmp_path / 'exits.json')


# ---- a form of checkpoints


def test_a_form_is_recognised_and_converted(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location(
        'convert_tool', Path(__file__).parents[1] / 'tools' / 'convert_checkpoint.py'
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    torch.manual_seed(0)
    network, head = MODELS.build(dict(type='ResNet', depth=18)), torch.nn.Linear(512, 3)
    weights = {f'net.{name}': value for name, value in network.state_dict().items()}
    weights |= {f'head.{name}': value for name, value in head.state_dict().items()}
    torch.save(dict(state_dict=weights), tmp_path / 'theirs.pth')
    arguments = [str(tmp_path / 'theirs.pth'), str(tmp_path / 'ours.pth'), '--custom-imports', 'my_form']
    tool.main(arguments)
    ours = init_recognizer(None, tmp_path / 'ours.pth')
    assert torch.equal(ours.encoder.backbone.conv1.weight, network.conv1.weight)
    assert torch.equal(ours.fc.bias, head.bias) and ours.encoder.shift == 'bidirectional'
    del weights['head.bias']
    torch.save(dict(state_dict=weights), tmp_path / 'theirs.pth')
    with pytest.raises((SystemExit, KeyError)):
        tool.main([*arguments, '--overwrite'])
    with pytest.raises(SystemExit, match="form 'their-lab' is unknown; choose auto, .*my-lab"):
        tool.main([*arguments, '--overwrite', '--from', 'their-lab'])


def build(settings):
    torch.manual_seed(0)
    return MODELS.build(dict(settings))
