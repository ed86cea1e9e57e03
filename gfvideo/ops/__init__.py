"""Pure tensor functions; they need torch alone."""

from .crop import crop_patches, crop_patches_bilinear, crop_windows, patch_corners
from .resize import ResizeMode, resize_frames
from .running import being_captured, micro_batch_for, numbers_like
from .shift import bidirectional_shift, causal_shift, causal_step, shift_fold

__all__ = [
    'ResizeMode',
    'being_captured',
    'bidirectional_shift',
    'causal_shift',
    'causal_step',
    'crop_patches',
    'crop_patches_bilinear',
    'crop_windows',
    'micro_batch_for',
    'numbers_like',
    'patch_corners',
    'resize_frames',
    'shift_fold',
]
