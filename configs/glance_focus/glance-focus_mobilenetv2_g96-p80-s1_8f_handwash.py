"""Hands from above, in frames resized to 320x240: a glance at all of it, and one look at the fingers."""

_base_ = [
    '../_base_/models/glance_focus_mobilenetv2.py',
    '../_base_/datasets/handwash.py',
    '../_base_/schedules/joint.py',
    '../_base_/default_runtime.py',
]
train_pipeline = [
    dict(type='SampleFrames', frames=None, strategy='segment'),
    dict(type='DecodeFrames'),
    dict(type='RandomResizedCrop', size=(240, 320), area=(0.5, 1.0), ratio=(1.1, 1.6)),
    dict(type='Flip', prob=None),
    dict(type='PackClip'),
]
test_pipeline = [
    dict(type='SampleFrames', frames=None, strategy='segment', test_mode=True),
    dict(type='DecodeFrames'),
    dict(type='ResizeShortSide', short=240),
    dict(type='PackClip'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
model = dict(
    num_classes=12,
    glance_size=96,
    patch_size=80,
    steps=1,
    glance=dict(frozen_stride=4),
    focus=dict(frozen_stride=4),
    policy=dict(_delete_=True, type='ValueMapPolicy', scope='frame'),
)
train_cfg = dict(val_interval=3)
