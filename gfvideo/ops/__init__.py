"""Pure tensor functions; they need torch alone."""

from .crop import crop_patches, crop_patches_bilinear, crop_windows, patch_corners
from .resize import ResizeMode, resize_frames
from .shift import bidirectional_shift, causal_shift, causal_step, shift_fold

__all__ = [
    'ResizeMode',
    'bidirectional_shift',
    'causal_shift',
    'causal_step',
    'crop_patches',
    'crop_patches_bilinear',
    'crop_windows',
    'patch_corners',
    'resize_frames',
    'shift_fold',
]
