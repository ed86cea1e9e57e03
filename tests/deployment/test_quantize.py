"""Exports in 8 bits: near to what they were, policy untouched, and refused where they lose too much."""

from __future__ import annotations

import json
import logging

import pytest
import torch

from gfvideo.deployment import (
    OnnxRecognizer,
    QuantizationError,
    export_recognizer,
    quantize_export,
    read_export,
)
from gfvideo.exits import StepExits, run_clips
from gfvideo.registry import MODELS

for library in ('onnx', 'onnxscript', 'onnxruntime'):
    pytest.importorskip(library)

T, H, W = 2, 24, 32
CLIPS = torch.randn(12, T, 3, H, W, generator=torch.Generator().manual_seed(3))
ENCODER = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift='causal', map_stride=4)


@pytest.fixture(scope='module')
def export(tmp_path_factory):
    """A causal network of one look, in torch, and its export."""
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='GlanceFocusRecognizer',
            glance=ENCODER,
            focus=ENCODER,
            num_classes=4,
            glance_size=16,
            patch_size=12,
            steps=1,
            policy=dict(type='ValueMapPolicy', hidden=8),
            classifier=dict(type='ConcatClassifier'),
        )
    )
    model.init_weights()
    with torch.no_grad():
        model.train()(CLIPS)  # statistics of batch normalisation
    folder = tmp_path_factory.mktemp('export') / 'graphs'
    export_recognizer(model.eval(), folder, T, (H, W))
    return model, folder


def labelled(model):
    """Clips with the classes that the network says, so that as exported it is always right."""
    with torch.no_grad():
        return [(clip, int(model(clip).argmax())) for clip in CLIPS.split(1)]


def test_answers_stay_near(export, tmp_path, caplog):
    model, folder = export
    handlers = logging.getLogger().handlers[:]
    record, drop = quantize_export(
        folder, tmp_path / 'int8', list(CLIPS[:4].split(1)), labelled(model), largest_drop=1.0, threads=1
    )
    assert drop.clips == 12 and drop.exported == 1.0
    assert 'pre-processing' not in caplog.text  # which was done: nobody is to be told
    assert logging.getLogger().handlers == handlers
    ours, theirs = OnnxRecognizer(tmp_path / 'int8', 1), OnnxRecognizer(folder, 1)
    with torch.no_grad():
        found, expected = ours(CLIPS), theirs(CLIPS)
    error = (found - expected).abs().median() / expected.abs().max()
    assert 1e-5 < error < 0.05  # 8 bits, not 32, and not noise; some patches move, so not all is near
    right = (found.argmax(1) == torch.tensor([label for _, label in labelled(model)])).double().mean().item()
    assert drop.quantized == pytest.approx(right)
    told = json.loads((tmp_path / 'int8' / 'export.json').read_text())
    assert told['precision'] == 'int8' and told['accuracy'] == drop._asdict()
    assert record.precision == 'int8' and read_export(folder).precision == 'float32'
    # exits, streams in chunks, and the hash of the weights go on
    assert run_clips(ours, CLIPS, StepExits((0.0,))).steps.tolist() == [0] * 12
    assert ours.described()['weights'] == theirs.described()['weights'] and ours.looking_ahead() == []


def test_only_the_encoder_is_rounded(export, tmp_path):
    """Its convolutions after the first ones are in 8 bits; those of the policy are not, nor is anything else
    that computes."""
    onnx = pytest.importorskip('onnx')
    _, folder = export
    quantize_export(folder, tmp_path / 'int8', list(CLIPS[:2].split(1)), largest_drop=None, threads=1)
    for name in ('glance', 'focus_1'):
        graph = onnx.load(str(tmp_path / 'int8' / f'{name}.onnx')).graph
        rounded = {
            output for node in graph.node if node.op_type == 'DequantizeLinear' for output in node.output
        }
        of_encoder, of_policy = [], []
        for node in graph.node:
            if node.op_type == 'Conv':
                found = of_policy if 'policy' in node.input[1] else of_encoder
                found.append(node.input[1] in rounded)
        assert of_encoder == [False] * 4 + [True] * (len(of_encoder) - 4) and len(of_encoder) > 4
        assert of_policy == [False] * len(of_policy) and (of_policy or name == 'focus_1')
        made = {output: node for node in graph.node for output in node.output}
        for node in graph.node:
            if node.op_type in ('Add', 'Sub', 'Mul', 'Div', 'ArgMax', 'GatherElements') and rounded & set(
                node.input
            ):
                # a sum in the encoder, of what a rounded convolution gave
                assert node.op_type == 'Add', node.op_type
                sources = [made[made[x].input[0]] for x in node.input if x in rounded]
                assert any(
                    source.op_type == 'QuantizeLinear' and made[source.input[0]].op_type == 'Conv'
                    for source in sources
                )


def test_what_loses_too_much_is_not_written(export, tmp_path):
    model, folder = export
    wrong = [(clip, (label + 1) % 4) for clip, label in labelled(model)]
    fit_on = list(CLIPS[:2].split(1))
    with pytest.raises(QuantizationError, match='what 8 bits cost in accuracy is unknown'):
        quantize_export(folder, tmp_path / 'int8', fit_on)
    with pytest.raises(QuantizationError, match='8 bits cost .* points of accuracy on 12 clips'):
        quantize_export(folder, tmp_path / 'int8', fit_on, wrong, largest_drop=-1.1)
    with pytest.raises(ValueError, match='clips to fit'):
        quantize_export(folder, tmp_path / 'int8', [], labelled(model))
    assert not (tmp_path / 'int8').exists()
