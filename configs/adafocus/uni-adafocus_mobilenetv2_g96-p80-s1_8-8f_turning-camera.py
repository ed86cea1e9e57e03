"""Uni-AdaFocus on few clips: windows with sides from 80 to 240 pixels, 8 of 24 frames; rates as published,
for 16 clips, and fewer epochs."""

_base_ = [
    '../_base_/models/adafocus_mobilenetv2.py',
    '../_base_/datasets/turning_camera.py',
    '../_base_/schedules/uni_adafocus.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=12,
    glance=dict(frozen_stride=4),
    focus=dict(frozen_stride=4),
    policy=dict(_delete_=True, type='DeformablePolicy', side_range=(80, 240)),
    frame_policy=dict(type='FramePolicy'),
    focus_frames=8,
)
optim_wrapper = dict(optimizer=dict(lr=0.005))
num_frames = 24
train_dataloader = dict(drop_last=True)
train_cfg = dict(max_epochs=10, val_interval=5)
