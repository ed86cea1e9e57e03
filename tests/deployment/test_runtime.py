"""Whatever computes the looks, they are those of torch: step by step, with exits, and in streams."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvideo.apis import inference_recognizer, init_recognizer, stream
from gfvideo.complexity import recognizer_cost
from gfvideo.deployment import ExportError, runtime, tracing, with_runtime
from gfvideo.engine import describe_model
from gfvideo.exits import StepExits, StreamExits, run_clips, run_stream
from gfvideo.models import GlanceFocusRecognizer
from gfvideo.registry import MODELS

for library in ('onnx', 'onnxruntime'):
    pytest.importorskip(library)

T, H, W = 4, 24, 32
CLIPS = torch.randn(5, T, 3, H, W, generator=torch.Generator().manual_seed(3))


def encoder(shift):
    return dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift=shift, map_stride=4)


def glance_focus(shift, policy, classifier='ConcatClassifier', **options):
    return dict(
        type='GlanceFocusRecognizer',
        glance=encoder(shift),
        focus=encoder(shift),
        num_classes=5,
        glance_size=16,
        patch_size=12,
        policy=dict(type=policy) if isinstance(policy, str) else policy,
        classifier=dict(type=classifier),
        **options,
    )


def ada_focus(**options):
    return (
        dict(
            type='AdaFocusRecognizer',
            num_classes=5,
            glance=encoder('bidirectional'),
            focus=encoder('bidirectional'),
            patch_size=12,
            glance_size=16,
            glance_frames=T,
            policy=dict(type='StackedMapPolicy', reduced=4, hidden=(8, 8)),
        )
        | options
    )


UNI = dict(
    policy=dict(type='DeformablePolicy', hidden=8, side_range=(10, 20)),
    frame_policy=dict(type='FramePolicy', hidden=8),
    focus_frames=3,
)
CONFIGS = {
    'value map': glance_focus('bidirectional', 'ValueMapPolicy'),
    'causal value map': glance_focus('causal', 'ValueMapPolicy'),
    'normalized value map': glance_focus(
        'causal', dict(type='ValueMapPolicy', hidden=8, stem_depth=4, stem_norm=True)
    ),
    'value map that sees more than the glance': glance_focus(
        'causal', dict(type='ValueMapPolicy', hidden=8, stem_size=40, stem_stride=8, stem_depth=3)
    ),
    'causal Gaussian': glance_focus('causal', 'RecurrentGaussianPolicy', 'RecurrentClassifier'),
    'three steps': glance_focus('bidirectional', 'RecurrentGaussianPolicy', steps=3),
    'static': dict(type='ClipRecognizer', encoder=encoder('bidirectional'), num_classes=5, input_size=16),
    'causal static': dict(type='ClipRecognizer', encoder=encoder('causal'), num_classes=5, input_size=16),
    'AdaFocus': ada_focus(),
    'Uni-AdaFocus': ada_focus(**UNI),
    'single frames': dict(type='ClipRecognizer', encoder=encoder(None), num_classes=5),
}
CAUSAL = ['causal value map', 'causal Gaussian', 'causal static', 'single frames']


@pytest.fixture(scope='module')
def both():
    """``name -> (recognizer in torch, the same as graphs)``, with weights that move every output."""
    made = {}

    def get(name):
        if name not in made:
            torch.manual_seed(0)
            model = MODELS.build(CONFIGS[name])
            model.init_weights()
            for parameter in model.parameters():
                parameter.data += 0.05 * torch.randn_like(parameter)
            made[name] = model.eval(), with_runtime(model, 'onnxruntime', threads=1)
        return made[name]

    return get


def assert_close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * max(float(theirs.abs().max()), 1e-6))


@pytest.mark.parametrize('name', CONFIGS)
def test_looks_are_those_of_torch(both, name):
    model, graphs = both(name)
    with torch.no_grad():
        for batch in (1, 3):
            for ours, theirs in zip(graphs.looks(CLIPS[:batch]), model.looks(CLIPS[:batch]), strict=True):
                assert ours.step == theirs.step
                for field in ('logits', 'vector', 'feature_map', 'promise'):
                    one, other = getattr(ours, field), getattr(theirs, field)
                    assert (one is None) == (other is None)
                    if one is not None:
                        assert_close(one, other)
                if theirs.centres is not None:
                    torch.testing.assert_close(
                        ours.centres, theirs.centres, rtol=0, atol=1e-4, equal_nan=True
                    )


def test_predictions_are_those_of_torch(both):
    model, graphs = both('value map')
    views = CLIPS[:4].unflatten(0, (2, 2))
    with torch.no_grad():
        for inputs in (CLIPS, views):
            assert_close(graphs(inputs, mode='tensor'), model(inputs, mode='tensor'))
            for one, other in zip(graphs(inputs, mode='predict'), model(inputs, mode='predict'), strict=True):
                assert_close(one.step_logits, other.step_logits)


@settings(max_examples=15)
@given(st.lists(st.floats(0.2, 0.6), min_size=2, max_size=2), st.sampled_from([None, 1, 2]))
def test_clips_exit_where_they_exit_in_torch(both, thresholds, micro_batch):
    model, graphs = both('value map')
    exits = StepExits(tuple(thresholds))
    ours, theirs = (run_clips(one, CLIPS, exits, micro_batch) for one in (graphs, model))
    assert ours.steps.tolist() == theirs.steps.tolist()
    assert_close(ours.logits, theirs.logits)


@pytest.mark.parametrize('name', CAUSAL)
def test_streams_are_those_of_torch(both, name):
    model, graphs = both(name)
    assert graphs.looking_ahead() == []
    for exits in (None, StreamExits((0.3,) * model.steps, (0.4,) * T)):
        ours, theirs = (run_stream(one, CLIPS, exits) for one in (graphs, model))
        assert ours.looks.tolist() == theirs.looks.tolist()
        assert ours.num_frames.tolist() == theirs.num_frames.tolist()
        assert_close(ours.logits, theirs.logits)


@pytest.mark.parametrize('frames', [1, 2])
def test_chunks_are_the_clip(both, frames):
    """As many frames at a time as one likes, from the caches of those before."""
    model, graphs = both('causal value map')
    cache, found = (), []
    for start in range(0, T, frames):
        chunk = CLIPS[:2, start : start + frames]
        state = graphs.glance(chunk, cache)
        while state.step < graphs.steps:
            state = graphs.focus(chunk, state)
        cache = state.cache
        found.append(state.logits)
    with torch.no_grad():
        assert_close(torch.cat(found, 1), model.looks(CLIPS[:2])[-1].logits)


def test_looks_at_centres_of_the_callers_are_torchs(both):
    model, graphs = both('causal value map')
    centres = torch.rand(2, T, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours, theirs = graphs.glance(CLIPS[:2]), model.glance(CLIPS[:2])
        ours, theirs = graphs.focus(CLIPS[:2], ours, centres), model.focus(CLIPS[:2], theirs, centres)
        assert_close(ours.logits, theirs.logits)
        torch.testing.assert_close(ours.centres, centres)
        ours, theirs = graphs.focus(CLIPS[:2], ours), model.focus(CLIPS[:2], theirs)  # and on by graphs
    assert_close(ours.logits, theirs.logits)


def test_it_is_the_same_recognizer_to_everyone_else(both):
    model, graphs = both('value map')
    assert describe_model(graphs) == describe_model(model)
    assert recognizer_cost(graphs, (T, 3, H, W)) == recognizer_cost(model, (T, 3, H, W))
    assert list(graphs.parts()) == list(model.parts()) and not graphs.draws
    assert not model.training  # as it was
    with pytest.raises(ValueError, match='only predicts'):
        graphs.losses(CLIPS, torch.zeros(5, dtype=torch.long))
    with pytest.raises(ValueError, match='look 3 was asked'):
        graphs.focus(CLIPS, graphs.looks(CLIPS)[-1])
    with pytest.raises(ValueError, match='float64'):
        graphs.glance(CLIPS.double())


def test_graphs_are_made_once_for_each_size(both, monkeypatch):
    model, _ = both('static')
    made, plain = [], runtime.trace_looks
    monkeypatch.setattr(runtime, 'trace_looks', lambda *given: made.append(given[1:3]) or plain(*given))
    graphs = with_runtime(model, 'onnxruntime', threads=1)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: graphs.glance(CLIPS[i % 5, None]).logits, range(10)))
    assert made == [(T, (H, W))]
    with torch.no_grad():
        for i, logits in enumerate(found):
            assert_close(logits, model.glance(CLIPS[i % 5, None]).logits)
    graphs.glance(CLIPS[:, :2])
    graphs.glance(CLIPS[..., :20])
    assert made == [(T, (H, W)), (2, (H, W)), (T, (H, 20))]
    for width in range(16, 16 + runtime.MOST_SIZES):
        graphs.glance(CLIPS[:1, :2, :, :, :width])
    before = len(made)
    graphs.glance(CLIPS[:1])  # the oldest went
    assert len(made) == before + 1


def test_auto_takes_what_there_is(both, monkeypatch, capsys):
    model, _ = both('value map')
    assert with_runtime(model, 'eager') is model
    assert with_runtime(model, 'auto') is not model
    drawn = MODELS.build(glance_focus('bidirectional', 'ValueMapPolicy', test_centres='random')).eval()
    assert with_runtime(drawn, 'auto') is drawn
    with pytest.raises(ExportError, match='drawn at random'):
        with_runtime(drawn, 'onnxruntime')
    monkeypatch.setattr(runtime.importlib.util, 'find_spec', lambda name: None)
    assert with_runtime(model, 'auto') is model


class Hidden(GlanceFocusRecognizer):
    """Does what no tracer follows."""

    def glance(self, frames, cache=()):
        state = super().glance(frames, cache)
        return state if float(frames.sum()) < 1e9 and not torch.jit.is_tracing() else 1 / 0


def test_auto_falls_back_where_no_graph_can_be_made():
    config = glance_focus('bidirectional', 'ValueMapPolicy')
    config.pop('type')
    model = Hidden(**config).eval()
    graphs = with_runtime(model, 'auto')
    with torch.no_grad():
        torch.testing.assert_close(graphs.looks(CLIPS)[-1].logits, model.looks(CLIPS)[-1].logits)
    with pytest.raises(ExportError, match='torch cannot trace step 0 .*ZeroDivisionError'):
        with_runtime(model, 'onnxruntime').glance(CLIPS)


def test_what_a_runtime_refuses(both, monkeypatch):
    model, _ = both('value map')
    with pytest.raises(ValueError, match="runtime='fast'"):
        with_runtime(model, 'fast')
    with pytest.raises(ValueError, match='threads=0'):
        with_runtime(model, 'onnxruntime', threads=0)
    model.train()
    try:
        with pytest.raises(ValueError, match='training mode'):
            with_runtime(model, 'auto')
    finally:
        model.eval()
    with pytest.raises(ValueError, match='for the CPU'):
        with_runtime(MODELS.build(CONFIGS['static']).eval().to('meta'), 'onnxruntime')
    monkeypatch.setattr(runtime, 'LIBRARIES', ('nothing_of_the_kind',))
    with pytest.raises(ImportError, match='gfvideo\\[onnx\\]'):
        with_runtime(model, 'onnxruntime')


def test_a_graph_that_answers_otherwise_is_refused(both, monkeypatch):
    model, _ = both('static')
    monkeypatch.setattr(tracing, 'weight_bands', lambda side, new: [(0, torch.zeros(new, side))])
    graphs = with_runtime(model, 'onnxruntime', threads=1)
    with pytest.raises(ExportError, match='does not answer as torch does'):
        graphs.glance(CLIPS[..., :30])
    with torch.no_grad():  # to a half, which onnxruntime resizes by itself as torch does
        assert_close(graphs.glance(CLIPS[:1]).logits, model.glance(CLIPS[:1]).logits)


@pytest.mark.parametrize('name', ['value map', 'causal Gaussian'])
def test_compiled_looks_are_those_of_torch(both, name):
    """The compiler's front alone, which is what may refuse; kernels are the compiler's."""
    model, _ = both(name)
    compiled = runtime.CompiledRecognizer(model, backend='eager', fullgraph=True)
    for ours, theirs in zip(compiled.looks(CLIPS), model.looks(CLIPS), strict=True):
        torch.testing.assert_close(ours.logits, theirs.logits)
    exits = StepExits((0.3, 0.4))
    assert run_clips(compiled, CLIPS, exits).steps.tolist() == run_clips(model, CLIPS, exits).steps.tolist()


def test_videos_by_graphs(tmp_path, painted_video):
    config = Path(__file__).resolve().parents[2] / 'configs/quickstart/glance-focus_tiny_value-map_toy.py'
    options = {'model.num_classes': 6, 'model.glance.shift': 'causal', 'model.focus.shift': 'causal'}
    found = []
    for name in ('eager', 'onnxruntime'):
        torch.manual_seed(0)
        model = init_recognizer(config, cfg_options=options, runtime=name)
        clip = inference_recognizer(model, str(painted_video(height=120)))
        found.append((clip, [answer.logits for answer in stream(model, str(painted_video(height=120)))]))
    (theirs, their_stream), (ours, our_stream) = found
    assert_close(ours.step_logits, theirs.step_logits)
    for one, other in zip(our_stream, their_stream, strict=True):
        assert_close(one, other)
