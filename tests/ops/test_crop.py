"""Patches cut by the gather against slicing, and the bilinear form against both and against numerical
gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from gfvideo.ops import crop_patches, crop_patches_bilinear, crop_windows, patch_corners


def sliced(frames: Tensor, centres: Tensor, size: tuple[int, int]) -> Tensor:
    """What the published code does, one frame after the other."""
    B, T, _, H, W = frames.shape
    patches = []
    for b in range(B):
        for t in range(T):
            top = int(torch.floor(centres[b, t, 0].clamp(0, 1) * (H - size[0])))
            left = int(torch.floor(centres[b, t, 1].clamp(0, 1) * (W - size[1])))
            patches.append(frames[b, t, :, top : top + size[0], left : left + size[1]])
    return torch.stack(patches).unflatten(0, (B, T))


@st.composite
def cuts(draw: st.DrawFn) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Frames, centres (some outside the frame) and a patch size, each side for itself."""
    B, T = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    H, W = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    size = draw(st.integers(1, H)), draw(st.integers(1, W))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    centres = torch.rand(B, T, 2, generator=generator) * 1.4 - 0.2
    if draw(st.booleans()):
        centres = centres.round()  # on the edges
    return torch.randn(B, T, 3, H, W, generator=generator), centres, size


@settings(max_examples=100, deadline=None)
@given(cuts())
def test_gather_equals_slicing(cut):
    frames, centres, size = cut
    assert torch.equal(crop_patches(frames, centres, size), sliced(frames, centres, size))


def test_gather_reads_any_dtype_and_memory_format():
    frames = torch.randint(0, 256, (2, 3, 3, 9, 7), dtype=torch.uint8)
    centres = torch.rand(2, 3, 2)
    expected = sliced(frames, centres, (4, 3))
    channels_last = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (2, 3))
    assert torch.equal(crop_patches(frames, centres, (4, 3)), expected)
    assert torch.equal(crop_patches(channels_last, centres, (4, 3)), expected)
    # where half precision would round the corner, the corner is that of the same number in float32
    half = centres.bfloat16()
    assert torch.equal(crop_patches(frames, half, (4, 3)), sliced(frames, half.float(), (4, 3)))


def test_the_edges_of_the_frame():
    frames = torch.arange(20.0).view(1, 1, 1, 4, 5)
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    patches = [crop_patches(frames, corner.view(1, 1, 2), (2, 2)).flatten().tolist() for corner in corners]
    assert patches == [[0, 1, 5, 6], [3, 4, 8, 9], [10, 11, 15, 16], [13, 14, 18, 19]]


@pytest.mark.parametrize('cut', [crop_patches, crop_patches_bilinear])
def test_centres_outside_touch_the_edge(cut):
    frames = torch.randn(1, 2, 3, 8, 9)
    outside = torch.tensor([[[-0.5, 3.0], [7.0, -1.0]]])
    assert torch.equal(cut(frames, outside, (3, 4)), cut(frames, outside.clamp(0, 1), (3, 4)))


@pytest.mark.parametrize('cut', [crop_patches, crop_patches_bilinear])
def test_a_patch_of_the_whole_frame(cut):
    frames = torch.randn(2, 2, 3, 6, 5)
    torch.testing.assert_close(cut(frames, torch.rand(2, 2, 2), (6, 5)), frames, rtol=0, atol=1e-5)


@pytest.mark.parametrize('cut', [crop_patches, crop_patches_bilinear])
@pytest.mark.parametrize('size', [(5, 4), (4, 5)])
def test_a_patch_larger_than_the_frame(cut, size):
    with pytest.raises(ValueError, match='larger than the frame'):
        cut(torch.zeros(1, 1, 3, 4, 4), torch.zeros(1, 1, 2), size)


def centres_of(corners: Tensor, frame: tuple[int, int], size: tuple[int, int]) -> Tensor:
    return corners / corners.new_tensor([frame[0] - size[0], frame[1] - size[1]])


@pytest.mark.parametrize('dtype, tolerance', [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_bilinear_equals_slicing_at_integer_corners(dtype, tolerance):
    frames = torch.randn(1, 1, 3, 40, 53, dtype=dtype)
    for corner in [(0, 0), (1, 2), (7, 30), (24, 37), (23, 0)]:
        centres = centres_of(torch.tensor(corner, dtype=dtype), (40, 53), (16, 16)).view(1, 1, 2)
        expected = frames[:, :, :, corner[0] : corner[0] + 16, corner[1] : corner[1] + 16]
        torch.testing.assert_close(
            crop_patches_bilinear(frames, centres, (16, 16)), expected, rtol=0, atol=tolerance
        )


def test_bilinear_between_pixels_is_their_mean():
    frames = torch.randn(1, 1, 1, 10, 10, dtype=torch.float64)
    corner = torch.tensor([2.25, 3.5], dtype=torch.float64)
    patch = crop_patches_bilinear(frames, centres_of(corner, (10, 10), (4, 4)).view(1, 1, 2), (4, 4))
    below = 0.75 * frames[..., 2:6, :] + 0.25 * frames[..., 3:7, :]  # (1, 1, 1, 4, 10)
    torch.testing.assert_close(patch, 0.5 * below[..., 3:7] + 0.5 * below[..., 4:8])


def test_gradients_of_bilinear():
    # away from integer corners, where the gradient jumps
    corners = torch.tensor([[2.3, 1.6], [0.4, 3.7], [3.2, 0.7]], dtype=torch.float64)
    centres = centres_of(corners, (8, 9), (4, 5)).unsqueeze(0).requires_grad_()
    frames = torch.randn(1, 3, 2, 8, 9, dtype=torch.float64, requires_grad=True)
    assert gradcheck(
        lambda frames, centres: crop_patches_bilinear(frames, centres, (4, 5)), (frames, centres)
    )


def test_gradient_points_to_the_bright_spot():
    frames = torch.zeros(1, 1, 1, 32, 32)
    ys, xs = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing='ij')
    frames[0, 0, 0] = torch.exp(-((ys - 24) ** 2 + (xs - 8) ** 2) / 60)
    centres = torch.full((1, 1, 2), 0.51, requires_grad=True)
    crop_patches_bilinear(frames, centres, (8, 8)).sum().backward()
    assert centres.grad[0, 0, 0] > 0 > centres.grad[0, 0, 1]


def test_no_gradient_through_the_gather():
    frames = torch.randn(1, 1, 1, 4, 4, requires_grad=True)
    centres = torch.full((1, 1, 2), 0.5, requires_grad=True)
    crop_patches(frames, centres, (2, 2)).sum().backward()
    assert centres.grad is None
    assert frames.grad[0, 0, 0].tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


def test_bilinear_places_half_precision_centres_exactly():
    frames = torch.randn(1, 1, 1, 260, 260).bfloat16()
    centres = torch.tensor([[[0.75, 0.25]]], dtype=torch.bfloat16)  # corner (192, 64)
    patch = crop_patches_bilinear(frames, centres, (4, 4))
    assert patch.dtype == torch.bfloat16
    torch.testing.assert_close(patch, frames[..., 192:196, 64:68], rtol=0, atol=1e-2)


def test_bilinear_refuses_integers():
    with pytest.raises(TypeError, match='torch.uint8'):
        crop_patches_bilinear(torch.zeros(1, 1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 1, 2), (2, 2))


def test_corners():
    corners = patch_corners(torch.tensor([[0.0, 1.0], [0.5, 0.25]]), (10, 20), (4, 8))
    assert corners.tolist() == [[0, 12], [3, 3]]


# ---------------------------------------------------------------------------------------- windows of any size


@st.composite
def windows(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, tuple[int, int]]:
    """Frames, centres, sizes of windows and a patch size, each side for itself."""
    H, W, size = (
        draw(st.integers(2, 14)),
        draw(st.integers(2, 14)),
        (draw(st.integers(1, 9)), draw(st.integers(1, 9))),
    )
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    sizes = 1 + torch.rand(2, 3, 2, generator=generator, dtype=torch.float64) * torch.tensor([H - 1, W - 1])
    centres = torch.rand(2, 3, 2, generator=generator, dtype=torch.float64)
    return torch.randn(2, 3, 2, H, W, generator=generator, dtype=torch.float64), centres, sizes, size


@settings(max_examples=60, deadline=None)
@given(windows())
def test_windows_equal_an_affine_grid(window):
    """The published way: scale = side / frame, translation = -1 + (both edges) / frame."""
    frames, centres, sizes, size = window
    H, W = frames.shape[-2:]
    ours = crop_windows(frames, centres, sizes, size)
    for b in range(2):
        for t in range(3):
            (y, x), (h, w) = centres[b, t].tolist(), sizes[b, t].tolist()
            top, left = y * (H - h), x * (W - w)
            theta = torch.tensor(
                [[[w / W, 0, -1 + (2 * left + w) / W], [0, h / H, -1 + (2 * top + h) / H]]],
                dtype=torch.float64,
            )
            grid = F.affine_grid(theta, (1, 2, *size), align_corners=False)
            torch.testing.assert_close(
                ours[b, t], F.grid_sample(frames[b, t, None], grid, align_corners=False)[0], rtol=0, atol=1e-9
            )


@settings(max_examples=60, deadline=None)
@given(cuts())
def test_windows_of_the_patch_size_are_patches(cut):
    frames, centres, size = cut
    frames, centres = frames.double(), centres.double().clamp(0, 1)
    sizes = torch.tensor(size, dtype=torch.float64).expand_as(centres)
    torch.testing.assert_close(
        crop_windows(frames, centres, sizes, size),
        crop_patches_bilinear(frames, centres, size),
        rtol=0,
        atol=1e-9,
    )


def test_a_window_twice_the_patch_averages_pixels():
    frames = torch.arange(64.0).view(1, 1, 1, 8, 8)
    patch = crop_windows(frames, torch.zeros(1, 1, 2), torch.full((1, 1, 2), 4.0), (2, 2))
    assert patch.flatten().tolist() == [4.5, 6.5, 20.5, 22.5]  # each the mean of four pixels of the corner


def test_gradients_of_windows():
    frames = torch.randn(1, 2, 2, 9, 10, dtype=torch.float64, requires_grad=True)
    centres = torch.tensor([[[0.31, 0.47], [0.62, 0.23]]], dtype=torch.float64, requires_grad=True)
    sizes = torch.tensor([[[5.3, 4.7], [6.1, 7.9]]], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda *inputs: crop_windows(*inputs, (3, 4)), (frames, centres, sizes))


def test_windows_of_half_precision_and_of_integers():
    frames = torch.randn(1, 1, 1, 260, 260).bfloat16()
    centres, sizes = torch.tensor([[[0.75, 0.25]]]).bfloat16(), torch.full((1, 1, 2), 4.0).bfloat16()
    patch = crop_windows(frames, centres, sizes, (4, 4))
    assert patch.dtype == torch.bfloat16
    torch.testing.assert_close(patch, frames[..., 192:196, 64:68], rtol=0, atol=1e-2)
    with pytest.raises(TypeError, match='torch.uint8'):
        crop_windows(
            torch.zeros(1, 1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 1, 2), torch.ones(1, 1, 2), (2, 2)
        )
