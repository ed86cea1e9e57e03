"""Uni-AdaFocus in minutes on two CPU cores: windows of any size, on 8 of 16 frames."""

_base_ = [
    '../_base_/models/adafocus_tiny.py',
    '../_base_/datasets/toy.py',
    '../_base_/schedules/uni_adafocus.py',
    '../_base_/default_runtime.py',
]
model = dict(
    policy=dict(_delete_=True, type='DeformablePolicy', hidden=32, side_range=(24, 112)),
    frame_policy=dict(type='FramePolicy', hidden=32),
    focus_frames=8,
)
optim_wrapper = dict(optimizer=dict(lr=0.05))
num_frames = 16
train_dataloader = dict(drop_last=True)
train_cfg = dict(max_epochs=10, val_interval=2)
