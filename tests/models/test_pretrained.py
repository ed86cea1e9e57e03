"""Pretrained weights of a backbone: image models, recognizers of this package, TSM; and what is refused."""

from __future__ import annotations

import argparse

import pytest
import torch

from gfvideo.conversion import export_encoder
from gfvideo.models.pretrained import load_pretrained
from gfvideo.registry import MODELS

RESNET = dict(type='ResNet', depth=18)


def randomly_filled(config):
    model = MODELS.build(config)
    for value in model.state_dict().values():
        if value.dtype.is_floating_point:
            value.uniform_(0.1, 1)
    return model


@pytest.fixture
def recognizer():
    return randomly_filled(
        dict(type='ClipRecognizer', num_classes=3, encoder=dict(type='Encoder', backbone=RESNET))
    )


def loaded(path):
    backbone = MODELS.build(RESNET)
    load_pretrained(backbone, str(path))
    return backbone.state_dict()


@pytest.mark.parametrize('form', ['ours', 'tsm', 'torchvision'])
def test_the_backbone_of_a_video_model(form, recognizer, tmp_path):
    content = dict(state_dict=recognizer.state_dict()) if form == 'ours' else export_encoder(recognizer, form)
    torch.save(content, tmp_path / 'weights.pth')
    placed = loaded(tmp_path / 'weights.pth')
    assert all(
        torch.equal(value, placed[name]) for name, value in recognizer.encoder.backbone.state_dict().items()
    )


def test_two_encoders_need_a_choice(tmp_path):
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8))
    model = MODELS.build(
        dict(
            type='GlanceFocusRecognizer',
            glance=encoder,
            focus=encoder,
            policy=dict(type='RandomPolicy'),
            num_classes=3,
            classifier=dict(type='RecurrentClassifier', hidden=8),
            glance_size=32,
            patch_size=32,
        )
    )
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match='two encoders, glance_encoder and focus_encoder; .* --part glance'):
        loaded(tmp_path / 'weights.pth')


@pytest.mark.parametrize(
    ('content', 'why'),
    [
        (b'some text', 'was not written by torch.save'),
        (dict(state_dict=dict(a=torch.zeros(1)), args=argparse.Namespace()), 'trust-pickle'),
        (dict(epoch=3), 'no state dict'),
        (
            dict(state_dict={'backbone.conv1.conv.weight': torch.zeros(2)}),
            'another code base: .*convert_checkpoint',
        ),
    ],
)
def test_refused_with_the_way_out(content, why, tmp_path):
    path = tmp_path / 'weights.pth'
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(ValueError, match=why):
        loaded(path)


def test_numbers_that_are_none_are_refused(tmp_path, recognizer):
    weights = recognizer.encoder.backbone.state_dict()
    weights['conv1.weight'][0, 0, 0, 0] = torch.nan
    torch.save(weights, tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match=r'nan or infinite: 1 of them \(conv1.weight\)'):
        loaded(tmp_path / 'weights.pth')
