"""Multiply-adds against counts by hand and known models; recognizers by part and by step."""

from __future__ import annotations

from functools import cache
from itertools import accumulate

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfvideo.complexity import count_multiply_adds, latency, multiply_adds_by_part, recognizer_cost
from gfvideo.models import ClipRecognizer, Encoder, GlanceFocusRecognizer


@pytest.mark.parametrize(
    'module, shapes, expected',
    [
        (nn.Linear(5, 7), [(2, 3, 5)], 2 * 3 * 5 * 7),
        (nn.Linear(5, 7, bias=False), [(5,)], 5 * 7),
        (nn.Conv1d(4, 6, 3, padding=1), [(2, 4, 9)], 2 * 6 * 9 * 4 * 3),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), [(2, 4, 9, 7)], 2 * 6 * 5 * 4 * 4 * 9),
        (nn.Conv2d(4, 6, (3, 1), groups=2, dilation=2), [(1, 4, 9, 7)], 6 * 5 * 7 * 2 * 3),
        (nn.Conv2d(8, 8, 3, groups=8), [(1, 8, 5, 5)], 8 * 3 * 3 * 9),
        (nn.Conv3d(2, 3, 2), [(1, 2, 3, 4, 5)], 3 * 2 * 3 * 4 * 2 * 8),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), [(1, 4, 5, 5)], 4 * 25 * 3 * 9),
        (nn.GRUCell(5, 7), [(2, 5)], 2 * 3 * 7 * (5 + 7)),
        (nn.LSTMCell(5, 7), [(2, 5)], 2 * 4 * 7 * (5 + 7)),
        (nn.GRU(5, 7), [(4, 2, 5)], 4 * 2 * 3 * 7 * (5 + 7)),
        (nn.GRU(5, 7, 2, bidirectional=True), [(4, 2, 5)], 4 * 2 * 2 * 3 * 7 * ((5 + 7) + (14 + 7))),
        (nn.LSTM(5, 7, 2), [(4, 2, 5)], 4 * 2 * 4 * 7 * ((5 + 7) + (7 + 7))),
        (nn.MultiheadAttention(8, 2, batch_first=True), [(2, 3, 8)] * 3, 2 * (3 * 8 * 8 * 4 + 2 * 3 * 3 * 8)),
        (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Softmax(1)), [(2, 3, 4, 4)], 0),
    ],
)
@pytest.mark.parametrize('training', [True, False])
def test_modules_by_hand(module, shapes, expected, training):
    inputs = [torch.randn(shape) for shape in shapes]
    assert count_multiply_adds(module.train(training), *inputs) == expected


@pytest.mark.parametrize(
    'function, shapes, expected',
    [
        (torch.matmul, [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        (torch.mv, [(3, 4), (4,)], 12),
        (torch.dot, [(4,), (4,)], 4),
        (lambda a, b: torch.einsum('bak,bakhw->bahw', a, b), [(2, 3, 4), (2, 3, 4, 5, 6)], 2 * 3 * 4 * 5 * 6),
        (F.scaled_dot_product_attention, [(1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 6)], 2 * 3 * 5 * (4 + 6)),
        (lambda x: F.interpolate(x, 8, mode='bilinear', antialias=True) * 2 + 1, [(1, 3, 4, 4)], 0),
    ],
)
@pytest.mark.parametrize('guard', [torch.enable_grad, torch.inference_mode])
def test_functions_by_hand(function, shapes, expected, guard):
    def guarded(*inputs: Tensor) -> Tensor:
        with guard():
            return function(*inputs)

    assert count_multiply_adds(guarded, *[torch.randn(shape) for shape in shapes]) == expected


def test_modules_in_inference_mode():
    modules = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 5), nn.GRUCell(5, 6))
    x = torch.randn(2, 3, 4, 4)
    assert (
        count_multiply_adds(torch.inference_mode()(modules), x)
        == count_multiply_adds(modules, x)
        == 2 * (432 + 80 + 198)
    )


def test_every_run_of_a_module_counts():
    layer = nn.Linear(3, 3)
    assert count_multiply_adds(lambda x: layer(layer(x)), torch.randn(1, 3)) == 18


def test_by_part():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 4)
            self.unused = nn.Linear(9, 9)

        def forward(self, x: Tensor) -> Tensor:
            # a part entered by one of its modules; a bare product
            return self.head(self.body[1](self.body[0](x))) @ torch.ones(4, 5)

    model = Model()
    parts = dict(body=model.body, head=model.head, unused=model.unused)
    assert multiply_adds_by_part(model, parts, torch.randn(1, 2)) == dict(body=6, head=12, unused=0, rest=20)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_hooks_go_when_the_model_fails():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 3))
    with pytest.raises(RuntimeError):
        multiply_adds_by_part(model, dict(first=model[0]), torch.randn(1, 2))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


# ---------------------------------------------------------------------- known models, with the shift inserted


HEADS = dict(glance_head=0, focus_head=0)  # they learn, and have no part in a prediction


@cache
def encoder(**backbone: object) -> Encoder:
    return Encoder(backbone).eval()


# what Uni-AdaFocus prints per frame of ResNet-50 and MobileNetV2 with TSM, as GFLOPs, without a classifier;
# it rounds up
@pytest.mark.parametrize(
    'backbone, size, printed, digits',
    [
        (dict(type='ResNet', depth=50), 96, 0.751, 3),
        (dict(type='ResNet', depth=50), 128, 1.335, 3),
        (dict(type='ResNet', depth=50), 160, 2.086, 3),
        (dict(type='ResNet', depth=50), 224, 4.09, 2),
        (dict(type='MobileNetV2'), 224, 0.300, 3),
    ],
)
def test_published_costs_per_frame(backbone, size, printed, digits):
    giga = count_multiply_adds(encoder(**backbone), torch.zeros(1, 2, 3, size, size)) / 2 / 1e9
    assert 0 <= printed - giga < 10**-digits


def test_tsm_resnet50_of_8_frames():
    clip = torch.zeros(1, 2, 3, 224, 224)
    multiply_adds = 4 * count_multiply_adds(encoder(type='ResNet', depth=50), clip)
    assert 32.69e9 < multiply_adds < 32.71e9  # TSM prints 32.7
    # MMAction2 prints 32.88: it adds a linear layer of 400 classes, and two operations for every output of a
    # batch normalisation
    normalised = [0]
    handles = [
        module.register_forward_hook(lambda _, __, out: normalised.append(out.numel()))
        for module in encoder(type='ResNet', depth=50).modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    with torch.no_grad():
        encoder(type='ResNet', depth=50)(clip)
    for handle in handles:
        handle.remove()
    assert round((multiply_adds + 8 * 2048 * 400 + 4 * 2 * sum(normalised)) / 1e9, 2) == 32.88


def test_resnet_stem_by_hand():
    stem = encoder(type='ResNet', depth=50).backbone.conv1
    assert count_multiply_adds(stem, torch.zeros(1, 3, 224, 224)) == 64 * 112 * 112 * 3 * 49


# ------------------------------------------------------------------------------------------------ recognizers

TINY = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8))


def glance_focus(
    classifier: str = 'RecurrentClassifier', policy: str = 'RecurrentGaussianPolicy', **options: object
) -> nn.Module:
    settings = dict(
        classifier=dict(type=classifier, **(dict(hidden=16) if classifier == 'RecurrentClassifier' else {})),
        policy=dict(
            type=policy,
            **(dict(hidden=8, actor='linear', reduced=4) if policy == 'RecurrentGaussianPolicy' else {}),
        ),
    )
    return GlanceFocusRecognizer(
        glance=TINY,
        focus=dict(TINY, backbone=dict(type='TinyCNN', width=16)),
        num_classes=5,
        glance_size=32,
        patch_size=(48, 32),
        steps=2,
        **settings,
        **options,
    )


def tiny_cnn(width: int, height: int, wide: int) -> int:
    """Multiply-adds of one frame through TinyCNN, by hand; sides divide by 16."""
    area, total, before = height * wide // 4, 0, width
    total += area * width * 27
    for out in (width, 2 * width, 4 * width):
        area //= 4
        total += area * out * (before * 9 + out * 9 + before)  # two 3x3 and the 1x1 of the skip connection
        before = out
    return total


def test_glance_focus_by_hand():
    T, glance_channels, focus_channels, hidden, classes = 3, 32, 64, 16, 5
    cost = recognizer_cost(glance_focus(), (T, 3, 64, 80))
    glance, focus = T * tiny_cnn(8, 32, 32), T * tiny_cnn(16, 48, 32)
    recurrent = T * (3 * hidden * 2 * hidden + hidden * classes)
    classifier = [
        T * channels * hidden + recurrent for channels in (glance_channels, focus_channels, focus_channels)
    ]
    rest_of_policy = 3 * 8 * 16 + 8 * 2  # GRU, actor; the critic does not run at test
    policy = [
        T * (cells * channels * 4 + cells * 4 * 8 + rest_of_policy)  # 1x1 convolution, linear layer
        for cells, channels in ((2 * 2, glance_channels), (3 * 2, focus_channels))
    ]
    assert cost['parts'] == dict(
        HEADS, glance_encoder=glance, policy=policy[1], focus_encoder=focus, classifier=classifier[1]
    )
    assert cost['by_step'] == [
        dict(HEADS, glance_encoder=glance, policy=0, focus_encoder=0, classifier=classifier[0], rest=0),
        dict(
            HEADS, glance_encoder=0, policy=policy[0], focus_encoder=focus, classifier=classifier[1], rest=0
        ),
        dict(
            HEADS, glance_encoder=0, policy=policy[1], focus_encoder=focus, classifier=classifier[2], rest=0
        ),
    ]
    assert cost['steps'] == list(accumulate(sum(step.values()) for step in cost['by_step']))


def test_concatenating_classifier_grows_and_parts_name_its_last_step():
    cost = recognizer_cost(glance_focus('ConcatClassifier'), (2, 3, 64, 64))
    assert [step['classifier'] for step in cost['by_step']] == [
        2 * 5 * channels for channels in (32, 96, 160)
    ]
    assert cost['parts']['classifier'] == 2 * 5 * 160


@pytest.mark.parametrize('policy', ['RandomPolicy', 'CentrePolicy'])
def test_a_policy_that_learns_nothing_costs_nothing(policy):
    cost = recognizer_cost(glance_focus(policy=policy), (2, 3, 64, 64))
    assert cost['parts']['policy'] == 0 and cost['parts']['focus_encoder'] == 2 * tiny_cnn(16, 48, 32)


def test_a_policy_that_is_not_asked_costs_nothing():
    assert recognizer_cost(glance_focus(test_centres='random'), (2, 3, 64, 64))['parts']['policy'] == 0


def test_clip_recognizer():
    model = ClipRecognizer(TINY, num_classes=5, input_size=32)
    cost = recognizer_cost(model, (3, 3, 64, 80))
    assert cost['parts'] == dict(encoder=3 * tiny_cnn(8, 32, 32), fc=3 * 32 * 5)
    assert cost['steps'] == [sum(cost['parts'].values())]


def test_shift_costs_no_multiply_add():
    frames = torch.zeros(1, 4, 3, 32, 32)
    for shift in ('bidirectional', 'causal', None):
        assert count_multiply_adds(
            Encoder(dict(type='TinyCNN', width=8), shift=shift), frames
        ) == 4 * tiny_cnn(8, 32, 32)


def test_counting_leaves_mode_and_random_numbers_alone():
    model = glance_focus(policy='RandomPolicy').train()
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    state = torch.get_rng_state()
    recognizer_cost(model, (2, 3, 64, 64))
    latency(model, torch.zeros(1, 2, 3, 64, 64), 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training and all(module.training for module in model.modules())
    assert all(torch.equal(buffers[name], value) for name, value in model.named_buffers())


def test_latency_grows_with_the_steps():
    times = latency(glance_focus(), torch.randn(1, 2, 3, 64, 64), repeats=3, warm_up=1)
    assert len(times) == 3 and 0 < times[0] < times[1] < times[2]
    assert len(latency(ClipRecognizer(TINY, num_classes=5), torch.randn(1, 2, 3, 32, 32), 1, 0)) == 1
    with pytest.raises(ValueError, match='repeats=0'):
        latency(glance_focus(), torch.randn(1, 2, 3, 64, 64), 0)
