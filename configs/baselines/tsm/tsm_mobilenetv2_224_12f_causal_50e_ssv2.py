"""Reads a video frame by frame and answers after every frame: causal shift, supervised after every frame."""

_base_ = [
    '../../_base_/models/tsm_mobilenetv2.py',
    '../../_base_/datasets/something_something_v2.py',
    '../../_base_/schedules/sgd_50e.py',
    '../../_base_/default_runtime.py',
]
model = dict(supervision='frames', encoder=dict(shift='causal'))
_frames = dict(type='SampleFrames', frames=12, strategy='segment')
train_dataloader = dict(dataset=dict(pipeline=[_frames, *_base_.train_pipeline[1:]]))
val_dataloader = dict(dataset=dict(pipeline=[dict(_frames, test_mode=True), *_base_.test_pipeline[1:]]))
test_dataloader = val_dataloader
