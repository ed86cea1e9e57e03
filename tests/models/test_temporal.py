"""The temporal shift inside a backbone: against a block written by hand, its context, its threads."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfvideo.models.backbones import TinyCNN
from gfvideo.models.backbones.resnet import BasicBlock, Bottleneck
from gfvideo.models.temporal import TemporalContext, insert_shift, temporal_context


def shifted_by_hand(x: Tensor, frames: int, fold: int) -> Tensor:
    """(B*T, C, H, W), channel by channel."""
    clip = x.view(-1, frames, *x.shape[1:])  # (B, T, C, H, W)
    out = clip.clone()
    for t in range(frames):
        for c in range(2 * fold):
            source = t + 1 if c < fold else t - 1
            out[:, t, c] = clip[:, source, c] if 0 <= source < frames else 0
    return out.flatten(0, 1)


def run(
    model: nn.Module, x: Tensor, frames: int, shift: str = 'bidirectional', fold_div: int = 8, cache=None
):
    with temporal_context(TemporalContext(frames, shift, fold_div, cache)) as context:
        return model(x), context.cache_out


def test_inside_a_basic_block():
    block = BasicBlock(16, 16, 1).eval()
    x = torch.randn(6, 16, 5, 5)
    out = F.relu(block.bn1(block.conv1(shifted_by_hand(x, 3, 2))))
    expected = F.relu(block.bn2(block.conv2(out)) + x)  # the skip connection carries the frame as it was
    insert_shift(block, ['conv1'])
    torch.testing.assert_close(run(block, x, 3)[0], expected)


def test_inside_a_bottleneck_with_projection():
    block = Bottleneck(16, 8, 2).eval()
    x = torch.randn(8, 16, 6, 6)
    out = F.relu(block.bn1(block.conv1(shifted_by_hand(x, 4, 4))))
    out = block.bn3(block.conv3(F.relu(block.bn2(block.conv2(out)))))
    expected = F.relu(out + block.downsample(x))  # projected unshifted, too
    insert_shift(block, ['conv1'])
    torch.testing.assert_close(run(block, x, 4, fold_div=4)[0], expected)


def test_gradients_inside_a_block_equal_those_by_hand():
    block = BasicBlock(8, 8, 1).double()
    by_hand = copy.deepcopy(block)
    insert_shift(block, ['conv1'])
    x = torch.randn(4, 8, 3, 3, dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    run(block, ours, 2, fold_div=2)[0].square().sum().backward()
    out = by_hand.relu(by_hand.bn1(by_hand.conv1(shifted_by_hand(theirs, 2, 4))))
    by_hand.relu(by_hand.bn2(by_hand.conv2(out)) + theirs).square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(block.conv1.weight.grad, by_hand.conv1.weight.grad)


def test_frames_of_other_clips_do_not_mix():
    model = TinyCNN(8).eval()
    insert_shift(model, model.shift_points())
    clips = torch.randn(2, 3, 3, 32, 32)
    together = run(model, clips.flatten(0, 1), 3)[0][16].unflatten(0, (2, 3))
    alone = torch.stack([run(model, clip, 3)[0][16] for clip in clips])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_clips_of_one_frame_are_refused_both_ways():
    model = TinyCNN(8).eval()
    insert_shift(model, model.shift_points())
    with pytest.raises(ValueError, match='of one frame.*2 of 8 channels would be zeros'):
        run(model, torch.randn(3, 3, 32, 32), 1)


def test_a_streams_first_frame_sees_zeros_for_the_one_before():
    model = TinyCNN(8).eval()
    plain = copy.deepcopy(model)
    insert_shift(model, model.shift_points())
    x = torch.randn(1, 3, 32, 32)
    for stage in plain.stages:
        for block in stage:
            channels = block.conv1.in_channels
            block.conv1.weight.data[:, : channels // 8] = 0  # what is moved away is gone
    torch.testing.assert_close(run(model, x, 1, 'causal')[0][16], plain(x)[16], rtol=1e-4, atol=1e-5)


def test_causal_stream_frame_by_frame_equals_offline():
    model = TinyCNN(16).eval()
    names = insert_shift(model, model.shift_points())
    clips = torch.randn(2, 5, 3, 32, 32)
    with torch.no_grad():
        offline, end = run(model, clips.flatten(0, 1), 5, 'causal')
        cache, maps = None, []
        for t in range(5):
            out, cache = run(model, clips[:, t], 1, 'causal', cache=cache)
            maps.append(out[16])
    torch.testing.assert_close(torch.stack(maps, 1).flatten(0, 1), offline[16], rtol=1e-4, atol=1e-5)
    assert list(cache) == names
    for name in names:
        torch.testing.assert_close(cache[name], end[name], rtol=1e-4, atol=1e-5)


def test_without_a_context():
    model = TinyCNN(8)
    insert_shift(model, model.shift_points())
    with pytest.raises(RuntimeError, match=r"'stages\.0\.0\.conv1' ran outside an encoder"):
        model(torch.randn(2, 3, 32, 32))


def test_a_context_ends_with_its_block_and_with_an_error():
    model = TinyCNN(8)
    insert_shift(model, model.shift_points())
    with pytest.raises(RuntimeError):  # 3 images are not clips of 2 frames
        run(model, torch.randn(3, 3, 32, 32), 2)
    with pytest.raises(RuntimeError, match='outside an encoder'):
        model(torch.randn(2, 3, 32, 32))


def test_contexts_nest():
    model = TinyCNN(8).eval()
    insert_shift(model, model.shift_points())
    x = torch.randn(4, 3, 32, 32)
    with temporal_context(TemporalContext(4, 'bidirectional', 8)):
        expected = model(x)[16]
        run(model, x, 2)
        assert torch.equal(model(x)[16], expected)


def test_a_context_belongs_to_its_thread():
    model = TinyCNN(8).eval()
    insert_shift(model, model.shift_points())
    x = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        expected = {frames: run(model, x, frames)[0][16] for frames in (2, 4, 8)}
    barrier, results, errors = threading.Barrier(4), {}, []

    def with_context(frames: int) -> None:
        with torch.no_grad(), temporal_context(TemporalContext(frames, 'bidirectional', 8)):
            barrier.wait(500)  # all contexts are open now
            results[frames] = model(x)[16]

    def without_context() -> None:
        barrier.wait(500)
        try:
            model(x)
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=with_context, args=(frames,)) for frames in (2, 4, 8)] + [
        threading.Thread(target=without_context)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(500)
    for frames in (2, 4, 8):
        torch.testing.assert_close(results[frames], expected[frames])
    assert len(errors) == 1 and 'outside an encoder' in errors[0]


def test_parameter_names_stay():
    model = TinyCNN(8)
    before = list(model.state_dict())
    insert_shift(model, model.shift_points())
    assert list(model.state_dict()) == before


def test_a_copy_keeps_its_shift():
    model = TinyCNN(8).eval()
    insert_shift(model, model.shift_points())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(run(copy.deepcopy(model), x, 2)[0][16], run(model, x, 2)[0][16])


@pytest.mark.parametrize(
    'points, message',
    [
        ([], 'names no place'),
        (['stages.0.0.conv9'], "no module 'stages.0.0.conv9'"),
        (['stem.0', 'stem.0'], "'stem.0' has a temporal shift already"),
    ],
)
def test_points_that_cannot_be(points, message):
    with pytest.raises(ValueError, match=message):
        insert_shift(TinyCNN(8), points)
