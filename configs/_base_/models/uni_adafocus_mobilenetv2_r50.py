"""Uni-AdaFocus on TSM: as adafocus_mobilenetv2_r50.py, but the policy chooses the size of the window too,
from 96 to 224 pixels, and 12 frames are picked by how much the glance's weigh."""

_base_ = './adafocus_mobilenetv2_r50.py'
model = dict(
    policy=dict(_delete_=True, type='DeformablePolicy', side_range=(96, 224)),
    frame_policy=dict(type='FramePolicy'),
    focus_frames=12,
    loss_weights=dict(window_size=0.5),
)
