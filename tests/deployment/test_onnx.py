"""Exported graphs answer as torch does, step by step and with early exit, and looks that are not taken are
not run."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from gfvideo.apis import inference_recognizer, init_recognizer, stream
from gfvideo.deployment import (
    ExportError,
    OnnxRecognizer,
    clip_shape,
    export,
    export_recognizer,
    optional,
    read_export,
)
from gfvideo.engine import describe_model, weights_hash
from gfvideo.exits import (
    Calibration,
    ExitsFileError,
    Setting,
    StepExits,
    StreamExits,
    confidence,
    run_clips,
    run_stream,
    write_exits,
)
from gfvideo.ops import bidirectional_shift, causal_shift, resize_frames
from gfvideo.structures import ClipSample

for library in ('onnx', 'onnxscript', 'onnxruntime'):
    pytest.importorskip(library)

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ['rising', 'falling', 'standing', 'turning', 'gone']
T, H, W = 4, 24, 32
CLIPS = torch.randn(7, T, 3, H, W, generator=torch.Generator().manual_seed(3))


def encoder(shift='bidirectional', **backbone):
    return dict(type='Encoder', backbone=backbone or dict(type='TinyCNN', width=8), shift=shift, map_stride=4)


def model_config(steps=2, **options):
    return (
        dict(
            type='GlanceFocusRecognizer',
            glance=encoder(),
            focus=encoder(),
            num_classes=5,
            glance_size=16,
            patch_size=12,
            steps=steps,
            policy=dict(type='RecurrentGaussianPolicy', hidden=16, reduced=4),
            classifier=dict(type='ConcatClassifier'),
        )
        | options
    )


def config(model):
    pipeline = [
        dict(type='SampleFrames', frames=T, test_mode=True),
        dict(type='DecodeFrames'),
        dict(type='Resize', size=(H, W)),
        dict(type='PackClip'),
    ]
    loader = dict(
        dataset=dict(type='ClipDataset', root='nowhere', split='val', pipeline=pipeline, test_mode=True)
    )
    return Config(
        dict(
            default_scope='gfvideo',
            model=model,
            test_dataloader=loader,
            test_cfg=dict(type='TestLoop'),
            test_evaluator=dict(type='ClipAccuracy'),
        )
    )


def build(model):
    """A recognizer whose running statistics are not the initial ones and whose predictions differ from clip
    to clip."""
    torch.manual_seed(0)
    made = init_recognizer(config(model))
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(0.2, 0.4)
    if hasattr(getattr(made, 'classifier', None), 'fc'):
        layers = made.classifier.fc
        for layer in layers if isinstance(layers, torch.nn.ModuleList) else [layers]:
            torch.nn.init.normal_(layer.weight, std=2.0)
    made.dataset_meta = dict(classes=CLASSES, name='tiny')
    return made


MODELS_OF_FOCUS = {
    'concat': dict(),
    'three steps': dict(
        steps=3,
        classifier=dict(type='RecurrentClassifier', hidden=16),
        policy=dict(type='RecurrentGaussianPolicy', hidden=16, reduced=4, scope='clip'),
    ),
    'one step': dict(steps=1, policy=dict(type='RecurrentGaussianPolicy', hidden=16, actor='linear')),
    'centre': dict(steps=1, test_centres='centre', glance=encoder(None), focus=encoder(None)),
}


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A function of a key of MODELS_OF_FOCUS: (model in torch, the same by onnxruntime, folder)."""
    made = {}

    def get(key):
        if key not in made:
            model, folder = build(model_config(**MODELS_OF_FOCUS[key])), tmp_path_factory.mktemp('export')
            export_recognizer(model, folder)
            made[key] = model, OnnxRecognizer(folder, threads=1), folder
        return made[key]

    return get


def assert_close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * max(float(theirs.abs().max()), 1e-6))


@pytest.mark.parametrize('key', MODELS_OF_FOCUS)
def test_looks_are_those_of_torch(exported, key):
    model, graphs, _ = exported(key)
    for batch in (1, 4, 7):  # the example had 2 clips, the checks 1 and 3
        with torch.no_grad():
            expected, found = model.looks(CLIPS[:batch]), graphs.looks(CLIPS[:batch])
        assert len(found) == model.steps + 1
        for one, other in zip(found, expected):
            assert one.step == other.step
            for field in ('logits', 'vector', 'feature_map', 'evidence'):
                assert_close(getattr(one, field), getattr(other, field))
            assert (one.centres is None) == (other.centres is None)
            if one.centres is not None:
                assert_close(one.centres, other.centres)


def test_predictions_views_and_samples_are_those_of_torch(exported):
    model, graphs, _ = exported('concat')
    views = CLIPS[:6].unflatten(0, (3, 2))  # (3, 2, T, 3, H, W)
    with torch.no_grad():
        for inputs in (CLIPS, views):
            assert_close(graphs(inputs, mode='tensor'), model(inputs, mode='tensor'))
            for one, other in zip(graphs(inputs, mode='predict'), model(inputs, mode='predict'), strict=True):
                assert_close(one.step_logits, other.step_logits)
                assert_close(one.centres, other.centres)
    with pytest.raises(ValueError, match='only predicts'):
        graphs(CLIPS, [ClipSample(gt_label=0) for _ in CLIPS], mode='loss')
    with pytest.raises(ValueError, match='streams need one of a causal recognizer'):
        graphs.stream()


class Runs:
    """Counts the runs of each step's session and the clips in them."""

    def __init__(self, graphs, monkeypatch):
        self.clips = Counter()
        monkeypatch.setattr(
            graphs.sessions,
            'steps',
            [self.Counting(session, step, self) for step, session in enumerate(graphs.sessions.steps)],
        )

    class Counting:
        def __init__(self, session, step, runs):
            self.session, self.step, self.runs = session, step, runs

        def run(self, names, feed):
            self.runs.clips[self.step] += len(feed['frames'])
            return self.session.run(names, feed)


def test_early_exit_decides_as_in_torch_and_skips_graphs(exported):
    model, graphs, _ = exported('concat')
    with torch.no_grad():
        sure = confidence(model.predict_steps(CLIPS).step_logits)[:, :2]  # (7, 2)
    ranks = [sorted(column.tolist()) for column in sure.T]
    middles = [[0.0, float('inf'), *((a + b) / 2 for a, b in zip(rank, rank[1:]))] for rank in ranks]

    @settings(max_examples=40)
    @given(st.tuples(*map(st.sampled_from, middles)), st.sampled_from([None, 1, 3]))
    def agree(thresholds, micro_batch):
        exits = StepExits(thresholds)
        with pytest.MonkeyPatch.context() as patch:
            runs = Runs(graphs, patch)
            found = run_clips(graphs, CLIPS, exits, micro_batch)
        expected = run_clips(model, CLIPS, exits, micro_batch)
        assert found.steps.tolist() == expected.steps.tolist()
        assert_close(found.logits, expected.logits)
        torch.testing.assert_close(found.centres, expected.centres, rtol=0, atol=1e-4, equal_nan=True)
        for step in range(3):
            assert runs.clips[step] == int((expected.steps >= step).sum())  # the rest never ran

    agree()


def test_a_step_that_nobody_takes_is_not_run(exported, monkeypatch):
    _, graphs, _ = exported('concat')
    runs = Runs(graphs, monkeypatch)
    assert run_clips(graphs, CLIPS, StepExits((0.0, 0.0))).steps.tolist() == [0] * 7
    assert runs.clips == {0: 7}


def test_patches_are_cut_at_the_same_pixels(exported):
    """Steps of a ramp along the frame show a patch that is one pixel off in the logits; centres close to the
    edges of pixels."""
    model, graphs, _ = exported('concat')
    ramp = torch.arange(H * W).view(1, 1, 1, H, W).expand(3, T, 3, H, W).float() / 100
    with torch.no_grad():
        assert_close(graphs.looks(ramp)[-1].logits, model.looks(ramp)[-1].logits)


def test_the_record_tells_what_was_exported(exported):
    model, graphs, folder = exported('concat')
    record = read_export(folder)
    assert (record.num_frames, record.frame_size, record.steps, record.num_classes, record.opset) == (
        T,
        (H, W),
        2,
        5,
        18,
    )
    assert record.model == json.loads(json.dumps(describe_model(model))) and record.model[
        'weights'
    ] == weights_hash(model.state_dict())
    assert record.classes == CLASSES and graphs.dataset_meta['name'] == 'tiny'
    assert graphs.cfg.model == model.cfg.model and set(record.versions) == {
        'gfvideo',
        'torch',
        'onnx',
        'onnxscript',
        'onnxruntime',
    }
    assert [graph.file for graph in record.graphs] == ['glance.onnx', 'focus_1.onnx', 'focus_2.onnx']
    assert record.graphs[0].inputs == {'frames': ['batch', T, 3, H, W]}
    assert record.graphs[0].outputs['clip_logits'] == ['batch', 5]
    assert 'before.memory.hidden' in record.graphs[2].inputs and record.graphs[2].carried == ['memory.keys']
    assert all(0 <= value <= 1e-4 for graph in record.graphs for value in graph.differences.values())
    assert graphs.data_preprocessor.mean.equal(model.data_preprocessor.mean)
    for graph in record.graphs:
        assert str(ROOT).encode() not in (folder / graph.file).read_bytes()  # nothing of this machine


def test_a_graph_of_a_later_step_is_shared_where_it_is_the_same(exported):
    _, _, folder = exported('three steps')
    assert [graph.file for graph in read_export(folder).graphs] == [
        'glance.onnx',
        'focus_1.onnx',
        'focus_2.onnx',
        'focus_2.onnx',
    ]
    assert sorted(path.name for path in folder.glob('*.onnx')) == [
        'focus_1.onnx',
        'focus_2.onnx',
        'glance.onnx',
    ]


def test_other_clips_are_refused(exported):
    model, graphs, _ = exported('concat')
    for frames in (CLIPS[:, :3], CLIPS[..., :30], CLIPS[:, 0]):
        with pytest.raises(ValueError, match=r'this export takes \(B, 4, 3, 24, 32\)'):
            graphs.glance(frames)
    with pytest.raises(ValueError, match='float32'):
        graphs.glance(CLIPS.double())
    with pytest.raises(ValueError, match='look 3 was asked of an export of 2 focus steps'):
        graphs.focus(CLIPS, graphs.looks(CLIPS)[-1])
    with pytest.raises(ValueError, match='threads=0'):
        OnnxRecognizer('anywhere', threads=0)


def test_graphs_run_without_torch(exported):
    """The loop of docs/deployment.md."""
    import onnxruntime

    model, _, folder = exported('three steps')
    record = json.loads((folder / 'export.json').read_text())
    state, found = dict(frames=CLIPS.numpy()), []
    for graph in record['graphs']:
        session = onnxruntime.InferenceSession(str(folder / graph['file']))
        answers = session.run(list(graph['outputs']), {name: state[name] for name in graph['inputs']})
        state.update((f'before.{name}', answer) for name, answer in zip(graph['outputs'], answers))
        found.append(torch.from_numpy(state['before.clip_logits']))
    with torch.no_grad():
        assert_close(torch.stack(found, 1), model.predict_steps(CLIPS).step_logits)


def test_threads_share_a_recognizer(exported):
    _, graphs, _ = exported('concat')
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda clip: graphs.looks(CLIPS[clip : clip + 1])[-1].logits, [0, 1, 2, 3] * 5))
    for clip in range(4):
        alone = graphs.looks(CLIPS[clip : clip + 1])[-1].logits
        assert all(logits.equal(alone) for logits in found[clip::4])


def some_video(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)


def write_calibration(path, model, threshold):
    """Exits of ``model`` with one threshold for all steps."""
    setting = Setting(StepExits((threshold,) * model.steps), 1.0, dict(gmacs=1.0), (1,) + (0,) * model.steps)
    costs = dict(gmacs=[1.0 + step for step in range(model.steps + 1)])
    write_exits(path, Calibration('steps', 'gmacs', (setting,), costs, dict(model=describe_model(model)), 0))
    return path


def test_videos_are_recognized_with_the_same_exits(exported, tmp_path):
    model, graphs, _ = exported('concat')
    videos = [some_video(0), some_video(1)]
    for one, other in zip(inference_recognizer(graphs, videos), inference_recognizer(model, videos)):
        assert_close(one.step_logits, other.step_logits)
    for threshold, last in ((0.0, 0), (1.5, 2)):
        exits = write_calibration(tmp_path / f'{last}.json', model, threshold)
        one, other = (inference_recognizer(some, videos[0], exits=exits) for some in (graphs, model))
        assert int(one.exit) == int(other.exit) == last
        assert_close(one.logits, other.logits)
    stranger = build(model_config(steps=2, patch_size=10))
    with pytest.raises(ExitsFileError, match='another model'):
        inference_recognizer(
            graphs, videos[0], exits=write_calibration(tmp_path / 'other.json', stranger, 0.0)
        )


@pytest.mark.parametrize(
    ('shift', 'backbone'),
    [('bidirectional', dict(type='MobileNetV2', width=0.25)), (None, dict(type='TinyCNN', width=8))],
)
def test_a_static_recognizer_is_one_graph(tmp_path, shift, backbone):
    """Frames are resized inside the graph, to a size that does not divide theirs."""
    model = build(
        dict(type='ClipRecognizer', num_classes=5, input_size=(33, 47), encoder=encoder(shift, **backbone))
    )
    record = export_recognizer(model, tmp_path / 'graphs', num_frames=3, frame_size=(70, 58))
    assert [graph.file for graph in record.graphs] == ['recognizer.onnx'] and record.steps == 0
    graphs = OnnxRecognizer(tmp_path / 'graphs', threads=1)
    frames = torch.randn(5, 3, 3, 70, 58, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert_close(graphs(frames), model(frames))
        assert_close(graphs.glance(frames).logits, model.glance(frames).logits)
    assert run_clips(graphs, frames, StepExits(())).centres is None


def causal_model(**policy):
    return build(
        model_config(
            policy=policy or dict(type='ValueMapPolicy', hidden=8),
            glance=encoder('causal'),
            focus=encoder('causal'),
        )
    )


@pytest.fixture(scope='module')
def causal(tmp_path_factory):
    """A causal recognizer, and what it gave as graphs of 1, 2 and T frames."""
    model, folder = causal_model(), tmp_path_factory.mktemp('causal')
    graphs = {}
    for frames in (1, 2, T):
        export_recognizer(model, folder / str(frames), frames, (H, W), whole_frame=frames == 1)
        graphs[frames] = OnnxRecognizer(folder / str(frames), threads=1)
    return model, graphs


def test_frames_chunks_and_clips_are_the_same(causal):
    """Look by look, whatever number of frames the graphs take, as torch does it at once."""
    model, graphs = causal
    with torch.no_grad():
        expected = model.looks(CLIPS)
        for frames, recognizer in graphs.items():
            cache = ()
            for start in range(0, T, frames):
                chunk = CLIPS[:, start : start + frames]
                states = [recognizer.glance(chunk, cache)]
                while states[-1].step < model.steps:
                    states.append(recognizer.focus(chunk, states[-1]))
                cache = states[-1].cache
                for state, whole in zip(states, expected, strict=True):
                    part = slice(start, start + frames)
                    assert_close(state.logits, whole.logits[:, part])
                    if whole.centres is not None:
                        torch.testing.assert_close(state.centres, whole.centres[:, part], rtol=0, atol=1e-4)
                    if whole.promise is not None:
                        assert_close(state.promise, whole.promise[:, part])


@settings(max_examples=20)
@given(
    st.lists(st.floats(0.2, 0.6), min_size=3, max_size=3),
    st.lists(st.floats(0.2, 0.9), min_size=T, max_size=T),
    st.sampled_from([None, 2]),
)
def test_a_stream_with_exits_is_that_of_torch(causal, steps, frames, window):
    """Videos of a batch leave a frame at different looks: caches of looks that were not taken stay."""
    model, graphs = causal
    exits = StreamExits(tuple(steps[:2]), tuple(frames))
    streams = [one.stream(exits, window) for one in (graphs[1], model)]
    for t in range(T):
        ours, theirs = (stream.read(CLIPS[:, t]) for stream in streams)
        assert ours.looks.tolist() == theirs.looks.tolist()
        assert ours.done.tolist() == theirs.done.tolist()
        assert_close(ours.logits, theirs.logits)
        torch.testing.assert_close(ours.centres, theirs.centres, rtol=0, atol=1e-4, equal_nan=True)
    again = run_stream(graphs[1], CLIPS, exits)
    assert again.looks.tolist() == run_stream(model, CLIPS, exits).looks.tolist()


def test_one_call_takes_all_looks_at_a_frame(causal):
    model, graphs = causal
    with torch.no_grad():
        expected = model.looks(CLIPS)
    cache = {}
    for t in range(T):
        found = graphs[1].read_frame(CLIPS[:, t : t + 1], cache)
        cache = {name: tensor for name, tensor in found.items() if name.startswith('cache.')}
        for step, state in enumerate(expected):
            assert_close(found['step_logits'][:, step], state.logits[:, t : t + 1])
        assert_close(found['clip_logits'], expected[-1].logits[:, t])
        for step, state in enumerate(expected[1:]):
            torch.testing.assert_close(
                found['centres'][:, step], state.centres[:, t : t + 1], rtol=0, atol=1e-4
            )
    with pytest.raises(ValueError, match='--whole-frame'):
        graphs[2].read_frame(CLIPS[:, :2])


def test_a_video_is_streamed_from_graphs(causal):
    model, graphs = causal
    video = some_video()
    ours, theirs = (list(stream(one, video)) for one in (graphs[1], model))
    assert [answer.index for answer in ours] == [answer.index for answer in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one.logits, other.logits)
    assert graphs[1].looking_ahead() == []


def test_what_graphs_of_streams_refuse(causal, tmp_path):
    model, graphs = causal
    with pytest.raises(ValueError, match='takes 4 frames at a time'):
        graphs[T].stream()
    with pytest.raises(ValueError, match='give no centres'):
        graphs[T].focus(CLIPS, graphs[T].glance(CLIPS), torch.zeros(len(CLIPS), T, 2))
    with pytest.raises(ValueError, match='later frames, so there is no graph of one frame'):
        export_recognizer(build(model_config()), tmp_path, T, (H, W), whole_frame=True)


def test_what_starts_otherwise_than_at_zeros_is_not_exported(tmp_path, monkeypatch):
    model = causal_model()
    plain = model.glance

    def glance(frames, cache=()):
        state = plain(frames, cache)
        return state if cache else replace(state, logits=state.logits + 1)

    monkeypatch.setattr(model, 'glance', glance)
    with pytest.raises(ExportError, match='step 0 at the start of a stream'):
        export_recognizer(model, tmp_path / 'graphs', 1, (H, W))


def test_graphs_without_caches_take_whole_clips(causal, tmp_path):
    """As earlier versions exported causal recognizers."""
    model, _ = causal
    bidirectional = build(model_config())
    export_recognizer(bidirectional, tmp_path / 'graphs')
    record = tmp_path / 'graphs' / 'export.json'
    told = json.loads(record.read_text())
    assert told.pop('streams') is False and told.pop('frame') is None  # which they did not tell
    record.write_text(json.dumps(told))
    graphs = OnnxRecognizer(tmp_path / 'graphs', threads=1)
    with torch.no_grad():
        assert_close(graphs.looks(CLIPS)[-1].logits, bidirectional.looks(CLIPS)[-1].logits)
    with pytest.raises(ValueError, match='takes whole clips'):
        graphs.stream()
    with pytest.raises(ValueError, match='no cache'):
        graphs.glance(CLIPS, cache=({},))


def test_a_value_map_looks_at_the_same_places(tmp_path):
    model = build(model_config(policy=dict(type='ValueMapPolicy', hidden=8)))
    record = export_recognizer(model, tmp_path / 'graphs')
    # a look is chosen by the graph before it, which says what it promises; the glance is not read twice
    assert 'promise' in record.graphs[0].outputs and 'before.ahead.centres' in record.graphs[1].inputs
    assert 'before.glance' not in record.graphs[1].inputs
    graphs = OnnxRecognizer(tmp_path / 'graphs', threads=1)
    with torch.no_grad():
        for ours, theirs in zip(graphs.looks(CLIPS), model.looks(CLIPS)):
            assert_close(ours.logits, theirs.logits)
            assert ours.step == 0 or torch.allclose(ours.centres, theirs.centres, atol=1e-4)
            if theirs.promise is not None:
                assert_close(ours.promise, theirs.promise)


def test_what_cannot_be_exported_is_told(tmp_path, monkeypatch):
    with pytest.raises(ExportError, match='drawn at random'):
        export_recognizer(build(model_config(test_centres='random')), tmp_path / 'random')
    model = build(model_config(steps=0))
    with pytest.raises(ValueError, match='opset=17'):
        export_recognizer(model, tmp_path / 'old', opset=17)
    model.cfg = Config()
    with pytest.raises(ValueError, match='give num_frames and frame_size'):
        export_recognizer(model, tmp_path / 'unknown')
    monkeypatch.setattr(export, 'TOLERANCE', 1e-12)
    with pytest.raises(ExportError, match='does not answer as torch does'):
        export_recognizer(model, tmp_path / 'wrong', T, (H, W))
    assert not list(tmp_path.iterdir())  # nothing half made is left


def test_a_missing_library_is_named(exported, monkeypatch):
    _, _, folder = exported('concat')

    def missing(name):
        raise ImportError(f'No module named {name!r}')

    monkeypatch.setattr(optional, 'import_module', missing)
    with pytest.raises(ImportError, match=r'onnxruntime cannot be imported .*pip install "gfvideo\[onnx\]"'):
        OnnxRecognizer(folder)


def test_a_folder_that_is_not_as_it_was_is_refused(exported, tmp_path):
    _, _, folder = exported('concat')
    copy = tmp_path / 'copy'
    copy.mkdir()
    with pytest.raises(FileNotFoundError, match='no export.json'):
        OnnxRecognizer(copy)
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    OnnxRecognizer(copy)
    content = (copy / 'focus_1.onnx').read_bytes()
    (copy / 'focus_1.onnx').write_bytes(content[:-1])
    with pytest.raises(ValueError, match='focus_1.onnx is not the graph'):
        OnnxRecognizer(copy)
    (copy / 'focus_1.onnx').unlink()
    with pytest.raises(FileNotFoundError, match='focus_1.onnx'):
        OnnxRecognizer(copy)
    (copy / 'export.json').write_text('{"format": 99}')
    with pytest.raises(ValueError, match='format 99'):
        OnnxRecognizer(copy)


def test_clip_shape_is_what_the_pipeline_makes():
    cfg = config(model_config())
    assert clip_shape(cfg) == (T, (H, W))
    cfg.test_dataloader.dataset.pipeline[2] = dict(type='ResizeShortSide', short=20)
    with pytest.raises(ValueError, match='as large as those of the video'):
        clip_shape(cfg)
    assert clip_shape(cfg, frame_size=(20, 30)) == (T, (20, 30))


@pytest.mark.parametrize(
    ('size', 'new_size'), [((70, 58), (33, 47)), ((24, 32), (16, 16)), ((9, 10), (9, 20))]
)
def test_resizing_as_products_is_resizing(size, new_size):
    frames = torch.randn(2, 3, 3, *size)
    rows, columns = (export.resize_weights(*sides) for sides in zip(size, new_size))
    for sides, whole in zip(zip(size, new_size), (rows, columns)):
        bands = [
            F.pad(band, (first, sides[0] - first - band.shape[1]))
            for first, band in export.weight_bands(*sides, rows=7)
        ]
        assert torch.cat(bands).equal(whole)
    torch.testing.assert_close(rows @ frames @ columns.T, resize_frames(frames, new_size), rtol=0, atol=1e-5)


def test_the_shift_of_exporters_is_the_shift(monkeypatch):
    for shape, fold_div in (((2, 5, 16, 3, 4), 8), ((1, 1, 9, 2, 2), 4), ((3, 2, 8, 7), 3)):
        x = torch.randn(shape)
        expected = [causal_shift(x, None, fold_div)[0]]
        expected += [bidirectional_shift(x, fold_div)] if shape[1] > 1 else []
        with monkeypatch.context() as patch:
            patch.setattr(torch.compiler, 'is_compiling', lambda: True)
            found = [causal_shift(x, None, fold_div)[0]]
            found += [bidirectional_shift(x, fold_div)] if shape[1] > 1 else []
        assert all(map(torch.equal, expected, found))


def tool(name):
    spec = importlib.util.spec_from_file_location(
        f'{name}_tool', ROOT / 'tools' / 'deployment' / f'{name}.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tools_export_and_recognize(tmp_path, capsys, painted_video):
    model = build(model_config(steps=1))
    checkpoint = tmp_path / 'model.pth'
    torch.save(
        dict(
            state_dict=model.state_dict(),
            meta=dict(cfg=model.cfg.pretty_text, dataset_meta=dict(classes=CLASSES)),
        ),
        checkpoint,
    )
    tool('export_onnx').main([str(checkpoint), str(tmp_path / 'graphs')])
    told = capsys.readouterr().out
    assert 'glance.onnx' in told and 'focus_1.onnx' in told and 'clips of 4 frames of 24x32' in told
    exits = write_calibration(tmp_path / 'exits.json', model, 0.0)
    for more, last in (
        ([], 'left after step 1 of 1'),
        (['--exits', str(exits)], 'left after step 0 of 1 (the glance)'),
    ):
        tool('onnx_inference').main(
            [str(tmp_path / 'graphs'), str(painted_video(24)), '--threads', '1', *more]
        )
        told = capsys.readouterr().out
        assert last in told and all(name in told for name in CLASSES) and ' ms ' in told
    with pytest.raises(SystemExit, match='no export.json'):
        tool('onnx_inference').main([str(tmp_path), 'video.mp4'])
    with pytest.raises(SystemExit, match='no checkpoint'):
        tool('export_onnx').main([str(tmp_path / 'gone.pth'), str(tmp_path / 'graphs')])


@pytest.mark.parametrize('before', ['focus_1.onnx', 'glance.onnx'])
def test_graphs_that_no_export_wrote_are_not_touched(before, tmp_path):
    model = build(model_config(steps=1))
    (tmp_path / 'graphs').mkdir()
    (tmp_path / 'graphs' / before).write_bytes(b'mine')
    with pytest.raises(export.ExportError, match=f'{before}, which no export'):
        export.export_recognizer(model, tmp_path / 'graphs', 4, (24, 32))
    assert (tmp_path / 'graphs' / before).read_bytes() == b'mine'
    (tmp_path / 'file').write_text('')
    with pytest.raises(export.ExportError, match='is a file'):
        export.export_recognizer(model, tmp_path / 'file', 4, (24, 32))


def test_a_new_export_replaces_an_earlier_one(tmp_path):
    export.export_recognizer(build(model_config(steps=2)), tmp_path, 4, (24, 32))
    (tmp_path / 'notes.onnx').write_bytes(b'mine')
    export.export_recognizer(build(model_config(steps=1)), tmp_path, 4, (24, 32))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'export.json',
        'focus_1.onnx',
        'glance.onnx',
        'notes.onnx',
    ]
