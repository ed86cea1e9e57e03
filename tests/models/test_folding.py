"""In evaluation a copy runs whose normalisations are folded into its convolutions: to the same numbers, and
of the weights as they are now."""

from __future__ import annotations

import copy
import pickle
import threading
from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import EMAHook
from mmengine.runner import ValLoop
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gfvideo.complexity import multiply_adds_by_part
from gfvideo.models import Encoder
from gfvideo.models.backbones.base import Backbone
from gfvideo.models.backbones.batch_norm import BatchNorm2d
from gfvideo.registry import MODELS

FRAMES = torch.randn(2, 3, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def unlike_the_first(module: nn.Module) -> None:
    """Normalisations of numbers that matter."""
    torch.manual_seed(1)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, 0, 0.3)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, 0, 0.3)


def encoder_of(backbone: dict, **options) -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder(backbone, **options).eval()
    unlike_the_first(encoder)
    return encoder


def tiny(**options) -> Encoder:
    return encoder_of(dict(type='TinyCNN', width=8), **options)


def assert_as_with_gradients(encoder: Encoder, frames: torch.Tensor = FRAMES) -> None:
    """With gradients the network itself runs."""
    expected = encoder(frames)
    with torch.no_grad():
        found = encoder(frames)
    for one, other in ((found.vector, expected.vector.detach()), (found.map, expected.map.detach())):
        # to the largest value: what cancels out in a deep network keeps the rounding of what it was made of
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * max(1.0, float(other.abs().max())))


class Operations(TorchDispatchMode):
    """How often each operation ran."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))

    def normalisations(self) -> int:
        return sum('batch_norm' in name or name == 'addcmul' for name in self.names)


def operations(encoder: Encoder, frames: torch.Tensor = FRAMES) -> Operations:
    with torch.no_grad(), Operations() as seen:
        encoder(frames)
    return seen


def normalisations_left(encoder: Encoder, frames: torch.Tensor = FRAMES) -> int:
    with torch.no_grad():
        encoder(frames)  # the copy is made
    return operations(encoder, frames).normalisations()


@pytest.mark.parametrize(
    'backbone, left',
    [
        (dict(type='TinyCNN', width=8), 0),
        (dict(type='MobileNetV2', width=0.25), 0),
        (dict(type='ResNet', depth=18), 0),
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else '',
)
def test_same_numbers_without_a_normalisation(backbone, left):
    encoder = encoder_of(backbone)
    assert normalisations_left(encoder) == left
    assert_as_with_gradients(encoder)


@pytest.mark.slow
@pytest.mark.parametrize(
    'backbone, left',
    [
        (dict(type='MobileNetV3'), 0),
        (dict(type='EfficientNet'), 0),
        (dict(type='RegNetY'), 0),
        (dict(type='DenseNet'), 62),  # those that read many maps at once, and the last
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else '',
)
def test_same_numbers_of_large_networks(backbone, left):
    encoder = encoder_of(backbone)
    assert normalisations_left(encoder) == left
    assert_as_with_gradients(encoder)


@pytest.mark.slow
@pytest.mark.parametrize('name, left', [('resnet18', 0), ('tf_efficientnet_b0', 0), ('convnext_atto', 0)])
def test_same_numbers_of_timm(name, left):
    pytest.importorskip('timm')
    encoder = encoder_of(dict(type='TimmBackbone', name=name))
    assert normalisations_left(encoder) == left
    assert_as_with_gradients(encoder)


def test_streams_and_frames_without_shift():
    encoder, cache = tiny(shift='causal'), None
    expected = encoder(FRAMES).vector.detach()
    with torch.no_grad():
        for t in range(3):
            found = encoder(FRAMES[:, t : t + 1], cache)
            cache = found.cache
            torch.testing.assert_close(found.vector[:, 0], expected[:, t], rtol=1e-4, atol=1e-5)
    assert_as_with_gradients(tiny(shift=None))


def test_weights_names_copies_and_files_know_nothing_of_it(tmp_path):
    encoder = tiny()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    modules = [name for name, _ in encoder.named_modules()]
    with torch.no_grad():
        answer = encoder(FRAMES).vector
        assert [name for name, _ in encoder.named_modules()] == modules
        assert list(encoder.state_dict()) == list(before)
        assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
        for copied in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
            assert torch.equal(copied(FRAMES).vector, answer)
            nn.init.zeros_(copied.backbone.stages[2][0].bn2.weight)
            assert not torch.equal(copied(FRAMES).vector, answer)
            assert torch.equal(encoder(FRAMES).vector, answer)


def changed_in_place(encoder: Encoder) -> None:
    with torch.no_grad():
        encoder.backbone.stem[0].weight.mul_(1.5)


def changed_by_statistics(encoder: Encoder) -> None:
    encoder.train()
    encoder(2 * FRAMES)
    encoder.eval()


def changed_by_loading(encoder: Encoder) -> None:
    encoder.load_state_dict({name: value * 1.25 for name, value in encoder.state_dict().items()})


def changed_by_assigning(encoder: Encoder) -> None:
    encoder.load_state_dict({name: value * 1.25 for name, value in encoder.state_dict().items()}, assign=True)


def changed_by_another_parameter(encoder: Encoder) -> None:
    norm = encoder.backbone.stem[1]
    norm.weight = nn.Parameter(norm.weight.detach() * 2)


def changed_by_other_data(encoder: Encoder) -> None:
    convolution = encoder.backbone.stem[0]
    convolution.weight.data = convolution.weight.data * 2


def changed_by_another_module(encoder: Encoder) -> None:
    encoder.backbone.stem[2] = nn.SiLU()


def changed_behind_the_back(encoder: Encoder) -> None:
    encoder.backbone.stem[0].weight.data.mul_(2)
    encoder.eval()


def changed_to_double(encoder: Encoder) -> None:
    encoder.backbone.double()
    encoder.backbone.float()
    changed_in_place(encoder)


@pytest.mark.parametrize(
    'change',
    [
        changed_in_place,
        changed_by_statistics,
        changed_by_loading,
        changed_by_assigning,
        changed_by_another_parameter,
        changed_by_other_data,
        changed_by_another_module,
        changed_behind_the_back,
        changed_to_double,
    ],
)
def test_changed_weights_are_taken_up(change):
    encoder = tiny()
    with torch.no_grad():
        before = encoder(FRAMES).vector
    change(encoder)
    with torch.no_grad():
        assert not torch.allclose(encoder(FRAMES).vector, before, rtol=1e-3)
    assert_as_with_gradients(encoder)


def test_a_layer_in_training_mode_trains():
    encoder = tiny()
    with torch.no_grad():
        encoder(FRAMES)
        encoder.backbone.stem[1].train()
        before = encoder.backbone.stem[1].running_mean.clone()
        encoder(FRAMES)
    assert not torch.equal(encoder.backbone.stem[1].running_mean, before)


def test_hooks_of_others_run():
    encoder, seen = tiny(), []
    with torch.no_grad():
        encoder(FRAMES)
        handle = encoder.backbone.stages[0].register_forward_hook(lambda *_: seen.append(1))
        encoder(FRAMES)
        handle.remove()
        encoder(FRAMES)
    assert seen == [1]
    assert normalisations_left(encoder) == 0


def test_parts_of_a_network_are_counted_as_ever():
    encoder, fresh = tiny(), tiny()
    with torch.no_grad():
        encoder(FRAMES)
    counts = [
        multiply_adds_by_part(lambda e=e: e(FRAMES), dict(stem=e.backbone.stem)) for e in (encoder, fresh)
    ]
    assert counts[0] == counts[1] and counts[0]['stem'] == 6 * 24 * 24 * 8 * 27


def test_inference_mode_and_half_precision():
    encoder = tiny()
    expected = encoder(FRAMES).vector.detach()
    with torch.inference_mode():
        torch.testing.assert_close(encoder(FRAMES).vector, expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # what was made there serves here
        torch.testing.assert_close(encoder(FRAMES).vector, expected, rtol=1e-4, atol=1e-5)
        with torch.autocast('cpu', torch.bfloat16):
            torch.testing.assert_close(encoder(FRAMES).vector.float(), expected, rtol=0.1, atol=0.1)
        encoder.bfloat16()
        torch.testing.assert_close(encoder(FRAMES.bfloat16()).vector.float(), expected, rtol=0.1, atol=0.1)


def test_threads_that_are_first_together():
    encoder = tiny()
    expected, found = encoder(FRAMES).vector.detach(), {}

    def read(number: int) -> None:
        with torch.no_grad():
            found[number] = encoder(FRAMES).vector

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(500)
    assert len(found) == 4
    for vector in found.values():
        torch.testing.assert_close(vector, expected, rtol=1e-4, atol=1e-5)


def test_an_export_holds_the_network_itself():
    encoder = tiny()
    with torch.no_grad():
        encoder(FRAMES)
        exported = torch.export.export(encoder, (FRAMES,))
    assert any('batch_norm' in str(node.target) for node in exported.graph.nodes)


class Validated(nn.Module):
    """An encoder that a validation loop can run."""

    def __init__(self):
        super().__init__()
        self.encoder, self.seen = tiny(), []

    def val_step(self, data) -> list:
        self.seen.append(self.encoder(FRAMES).vector)
        return [None]


def test_averaged_weights_are_validated():
    """mmengine's hook exchanges them behind torch's back, and the loop calls eval() after it."""
    model, hook = Validated(), EMAHook(momentum=0.5)
    runner = SimpleNamespace(model=model, visualizer=SimpleNamespace(), iter=0, epoch=0)
    runner.call_hook = lambda name, **values: getattr(hook, name)(runner, **values)
    hook.before_run(runner)
    loop = ValLoop(runner, torch.utils.data.DataLoader([0]), Evaluator([]))
    hook.after_train_iter(runner, 0)  # the first takes the weights as they are
    changed_in_place(model.encoder)
    hook.after_train_iter(runner, 1)
    model.eval()
    with torch.no_grad():
        own = model.encoder(FRAMES).vector
        averaged = hook.ema_model.module.encoder(FRAMES).vector
    loop.run()
    torch.testing.assert_close(model.seen[0], averaged)
    assert not torch.allclose(own, averaged, rtol=1e-3)


# ---- networks of one's own, where folding would be wrong


class Own(Backbone):
    """A convolution, its normalisation, and what the network does with them."""

    channels = {2: 8}

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)

    def shift_points(self) -> list[str]:
        return ['convolution']

    def layers_up_to(self, stride: int) -> list[nn.Module]:
        return [self]


@MODELS.register_module()
class Plain(Own):
    def forward(self, x):
        return {2: self.norm(self.convolution(x))}


@MODELS.register_module()
class ReadTwice(Own):
    """The convolution's own map goes on beside the normalised one."""

    def forward(self, x):
        x = self.convolution(x)
        return {2: self.norm(x) + x.relu()}


@MODELS.register_module()
class ReadBefore(Own):
    def forward(self, x):
        x = self.convolution(x)
        gate = x.mean((2, 3), keepdim=True).sigmoid()
        return {2: self.norm(x) * gate}


@MODELS.register_module()
class Returned(Own):
    """The convolution's own map is an answer, too."""

    channels = {2: 8, 4: 8}

    def forward(self, x):
        x = self.convolution(x)
        return {2: x, 4: self.norm(x)}


@MODELS.register_module()
class Overwritten(Own):
    """What lies between works in place, so that the normalisation reads the same tensor."""

    def forward(self, x):
        return {2: self.norm(self.convolution(x).relu_())}


@MODELS.register_module()
class RunTwice(Own):
    def forward(self, x):
        return {2: self.norm(self.convolution(x)) + self.convolution(x.flip(3))}


@MODELS.register_module()
class OfStatistics(Own):
    """Normalised by the batch itself."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)

    def forward(self, x):
        return {2: self.norm(self.convolution(x))}


class Doubled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


@MODELS.register_module()
class OfOwnConvolution(Own):
    def __init__(self):
        super().__init__()
        self.convolution = Doubled(3, 8, 3, 2, 1)

    def forward(self, x):
        return {2: self.norm(self.convolution(x))}


@MODELS.register_module()
class OfOwnNormalisation(Own):
    """In place, and read by nobody else: the package's own."""

    def __init__(self):
        super().__init__()
        self.norm = BatchNorm2d(8)

    def forward(self, x):
        x = self.norm(self.convolution(x))
        x += 1
        return {2: x}


@MODELS.register_module()
class NoCopy(Own):
    """Of a lock no copy can be made."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, x):
        with self.lock:
            return {2: self.norm(self.convolution(x))}


@pytest.mark.parametrize(
    'name, left',
    dict(
        Plain=0,
        ReadTwice=1,
        ReadBefore=1,
        Returned=1,
        Overwritten=1,
        RunTwice=1,
        OfStatistics=1,
        OfOwnConvolution=1,
        OfOwnNormalisation=0,
        NoCopy=1,
    ).items(),
)
def test_networks_of_ones_own(name, left):
    torch.manual_seed(0)
    encoder = Encoder(dict(type=name), shift=None).eval()
    assert normalisations_left(encoder) == left  # while normalising changes nothing yet
    assert_as_with_gradients(encoder)
    if name != 'OfStatistics':
        unlike_the_first(encoder)
    assert_as_with_gradients(encoder)
