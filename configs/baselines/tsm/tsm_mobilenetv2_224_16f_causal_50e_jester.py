"""Reads a video frame by frame and answers after every frame: causal shift, supervised after every frame."""

_base_ = [
    '../../_base_/models/tsm_mobilenetv2.py',
    '../../_base_/datasets/jester.py',
    '../../_base_/schedules/sgd_50e.py',
    '../../_base_/default_runtime.py',
]
model = dict(num_classes=27, supervision='frames', encoder=dict(shift='causal'))
num_frames = 16
