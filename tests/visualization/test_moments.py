import numpy as np
import torch

from gfvideo.ops import crop_patches
from gfvideo.visualization import as_glanced, window_of


def test_a_window_is_where_the_patch_is_cut():
    frames = torch.arange(30 * 40.0).view(1, 1, 1, 30, 40)
    for centre in ([0.0, 0.0], [0.37, 0.81], [1.0, 1.0]):
        window = window_of(centre, (30, 40), (8, 12))
        patch = crop_patches(frames, torch.tensor(centre).view(1, 1, 2), (8, 12))[0, 0, 0]
        top, left = int(window.top), int(window.left)
        assert torch.equal(frames[0, 0, 0, top : top + 8, left : left + 12], patch)


def test_windows_of_a_chosen_size_and_of_no_look():
    assert window_of([np.nan, np.nan], (30, 40), (8, 8)) is None
    window = window_of([1.0, 0.5], (30, 40), (8, 8), (10, 20))
    assert (window.top, window.left, window.height, window.width) == (20, 10, 10, 20)


def test_frames_as_glanced():
    frames = np.full((2, 8, 8, 3), 40, np.uint8)
    frames[:, :, 4:] = 200
    small = as_glanced(frames, (2, 2))
    assert small.shape == (2, 2, 2, 3) and abs(int(small[0, 0, 0, 0]) - 60) < 30
    assert as_glanced(frames, None) is frames
