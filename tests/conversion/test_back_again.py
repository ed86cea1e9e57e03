"""Encoders trained here, in the names of other code bases, and from there back: the same weights, the same
answers."""

from __future__ import annotations

import pytest
import torch
from other_names import random_backbone

from gfvideo.apis import init_recognizer
from gfvideo.conversion import TARGETS, ConversionError, convert_file, export_encoder, recognise_form
from gfvideo.models import ClipRecognizer
from gfvideo.registry import MODELS

CONFIGS = {
    'resnet18': dict(type='ResNet', depth=18),
    'resnet34': dict(type='ResNet', depth=34),
    'resnet50': dict(type='ResNet', depth=50),
    'resnet101': dict(type='ResNet', depth=101),
    'mobilenetv2': dict(type='MobileNetV2', width=1.0),
    'mobilenetv2_050': dict(type='MobileNetV2', width=0.5),
}


def recognizer(config: dict, shift: str | None, classes: int) -> ClipRecognizer:
    model = MODELS.build(
        dict(
            type='ClipRecognizer',
            num_classes=classes,
            encoder=dict(type='Encoder', shift=shift, backbone=config),
        )
    )
    model.encoder.backbone.load_state_dict(random_backbone(config).state_dict())
    return model.eval()


def of_config(name: str, shift: str | None = 'bidirectional', classes: int = 11) -> ClipRecognizer:
    return recognizer(CONFIGS[name], shift, classes)


def same(one: dict, other: dict) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize('target', TARGETS)
@pytest.mark.parametrize('name', CONFIGS)
def test_there_and_back(name, target, tmp_path, convert):
    shift = None if target == 'torchvision' else 'bidirectional'
    model = of_config(name, shift, classes=len(name))
    content = export_encoder(model, target)
    assert recognise_form(content) == target
    torch.save(content, tmp_path / 'theirs.pth')
    convert(tmp_path / 'theirs.pth', tmp_path / 'ours.pth')
    again = init_recognizer(None, tmp_path / 'ours.pth')
    assert again.encoder.shift == shift and again.num_classes == len(name)
    assert same(dict(sorted(again.state_dict().items())), dict(sorted(model.state_dict().items())))
    frames = torch.randn(1, 3, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(frames), model(frames))
    assert same(export_encoder(again, target).get('state_dict', {}), content.get('state_dict', {}))


def test_the_shift_is_what_the_marks_say(tmp_path):
    """Without a shift no name is marked; with it, a marked model answers otherwise than an unmarked one of
    the same weights."""
    torch.manual_seed(0)
    frames, answers = torch.randn(1, 3, 3, 64, 64), []
    for shift in ('bidirectional', None):
        content = export_encoder(of_config('resnet18', shift), 'tsm')
        assert any('.net.' in name for name in content['state_dict']) == (shift is not None)
        torch.save(content, tmp_path / 'theirs.pth')
        assert convert_file(tmp_path / 'theirs.pth').model['encoder']['shift'] == shift
    for form, shift in (('tsm', 'bidirectional'), ('tsm-online', 'causal')):
        torch.save(export_encoder(of_config('resnet18'), 'tsm'), tmp_path / 'theirs.pth')
        converted = convert_file(tmp_path / 'theirs.pth', form)
        assert converted.model['encoder']['shift'] == shift
        model = MODELS.build(converted.model).eval()
        model.load_state_dict(converted.weights, strict=False)
        with torch.no_grad():
            answers.append(model(frames))
    assert not torch.allclose(*answers, rtol=1e-2)


# of each layout a block that is shifted, one that is not, stem and classifier
LITERALS = {
    ('resnet18', 'tsm'): [
        'module.base_model.conv1.weight',
        'module.base_model.bn1.running_var',
        'module.base_model.layer1.0.conv1.net.weight',
        'module.base_model.layer1.0.bn1.weight',
        'module.base_model.layer1.0.conv2.weight',
        'module.base_model.layer2.0.downsample.0.weight',
        'module.base_model.layer2.0.downsample.1.num_batches_tracked',
        'module.new_fc.weight',
        'module.new_fc.bias',
    ],
    ('resnet101', 'tsm'): [
        'module.base_model.layer3.0.conv1.net.weight',
        'module.base_model.layer3.1.conv1.weight',
        'module.base_model.layer3.22.conv1.net.weight',
        'module.base_model.layer4.1.conv1.weight',
    ],
    ('mobilenetv2', 'tsm'): [
        'module.base_model.features.0.0.weight',
        'module.base_model.features.1.conv.0.weight',
        'module.base_model.features.1.conv.4.running_mean',
        'module.base_model.features.2.conv.0.weight',
        'module.base_model.features.3.conv.0.net.weight',
        'module.base_model.features.3.conv.1.weight',
        'module.base_model.features.3.conv.3.weight',
        'module.base_model.features.3.conv.6.weight',
        'module.base_model.features.3.conv.7.bias',
        'module.base_model.features.18.1.weight',
    ],
    ('resnet50', 'mmaction2'): [
        'backbone.conv1.conv.weight',
        'backbone.conv1.bn.bias',
        'backbone.layer1.0.conv1.conv.net.weight',
        'backbone.layer1.0.conv1.bn.weight',
        'backbone.layer1.0.conv3.conv.weight',
        'backbone.layer1.0.downsample.conv.weight',
        'backbone.layer1.0.downsample.bn.running_var',
        'cls_head.fc_cls.weight',
        'cls_head.fc_cls.bias',
    ],
    ('mobilenetv2', 'mmaction2'): [
        'backbone.conv1.conv.weight',
        'backbone.conv2.bn.weight',
        'backbone.layer1.0.conv.0.conv.weight',
        'backbone.layer1.0.conv.1.bn.weight',
        'backbone.layer2.0.conv.0.conv.weight',
        'backbone.layer2.1.conv.0.net.conv.weight',
        'backbone.layer2.1.conv.0.net.bn.running_mean',
        'backbone.layer2.1.conv.1.conv.weight',
        'backbone.layer2.1.conv.2.bn.weight',
        'backbone.layer7.0.conv.2.conv.weight',
    ],
    ('mobilenetv2', 'torchvision'): [
        'features.0.0.weight',
        'features.3.conv.0.0.weight',
        'features.3.conv.1.1.weight',
        'features.3.conv.2.weight',
        'features.3.conv.3.bias',
        'classifier.1.weight',
        'classifier.1.bias',
    ],
}


@pytest.mark.parametrize('name, target', LITERALS)
def test_published_names(name, target):
    content = export_encoder(of_config(name), target)
    weights = content.get('state_dict', content)
    assert set(LITERALS[name, target]) <= set(weights)
    assert len(weights) == len(of_config(name).state_dict())


@pytest.mark.parametrize(
    'config, place',
    [
        (dict(type='EfficientNet', variant='b0'), 'classifier.1'),
        (dict(type='MobileNetV3', size='small'), 'classifier.3'),
        (dict(type='RegNetY', size='400m'), 'fc'),
        (dict(type='DenseNet', depth=121), 'classifier'),
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else '',
)
def test_other_backbones_for_torchvision_only(config, place):
    model = recognizer(config, None, 5)
    weights = export_encoder(model, 'torchvision')
    assert torch.equal(weights[f'{place}.weight'], model.fc.weight) and len(weights) == len(
        model.state_dict()
    )
    for target in ('tsm', 'mmaction2'):
        with pytest.raises(ConversionError, match=config['type']):
            export_encoder(model, target)


def glance_focus():
    glance, focus = (
        dict(type='Encoder', backbone=config) for config in (CONFIGS['mobilenetv2_050'], CONFIGS['resnet18'])
    )
    torch.manual_seed(5)
    return MODELS.build(
        dict(
            type='GlanceFocusRecognizer',
            num_classes=4,
            glance=glance,
            focus=focus,
            glance_size=64,
            patch_size=64,
            steps=1,
            policy=dict(type='RecurrentGaussianPolicy', hidden=8),
            classifier=dict(type='RecurrentClassifier', hidden=8),
        )
    )


def test_a_part_of_a_recognizer_with_two_encoders():
    model = glance_focus()
    for part, first in (('glance', 'features.0.0.weight'), ('focus', 'conv1.weight')):
        weights = export_encoder(model, 'tsm', part)['state_dict']
        own = getattr(model, f'{part}_encoder').backbone.state_dict()
        assert torch.equal(weights[f'module.base_model.{first}'], own[first])
        assert torch.equal(weights['module.new_fc.weight'], getattr(model, f'{part}_head').weight)
    with pytest.raises(ConversionError, match='name the part, glance or focus'):
        export_encoder(model, 'tsm')
    with pytest.raises(ConversionError, match="part='focus'.*has one encoder"):
        export_encoder(of_config('resnet18'), 'tsm', 'focus')
    with pytest.raises(ConversionError, match="'caffe' is unknown; choose tsm, mmaction2, torchvision"):
        export_encoder(model, 'caffe', 'glance')


def test_class_names_travel_both_ways(tmp_path):
    model = of_config('resnet18', classes=3)
    model.dataset_meta = dict(classes=['put', 'take', 'turn'])
    torch.save(export_encoder(model, 'mmaction2'), tmp_path / 'theirs.pth')
    assert convert_file(tmp_path / 'theirs.pth').classes == ['put', 'take', 'turn']


@pytest.mark.parametrize(
    ('backbone', 'why'),
    [
        (dict(type='MobileNetV3', size='small', norm_eps=1e-5), 'add .1e-05.'),
        (dict(type='RegNetY', size='600m'), 'no such size'),
        (dict(type='RegNetY', size='800m', rounding='timm'), 'rounds its widths'),
        (
            dict(type='MobileNetV3', size='small', width=0.75, rounding='timm', norm_eps=1e-3),
            'rounds its widths',
        ),
    ],
)
def test_torchvision_has_no_such_network(backbone, why):
    model = MODELS.build(
        dict(
            type='ClipRecognizer', num_classes=3, encoder=dict(type='Encoder', shift=None, backbone=backbone)
        )
    )
    with pytest.raises(ConversionError, match=why):
        export_encoder(model, 'torchvision')
