"""Reads a video frame by frame and answers after every frame: causal shift, supervised after every frame."""

_base_ = [
    '../_base_/models/glance_focus_mobilenetv2_r50.py',
    '../_base_/datasets/jester.py',
    '../_base_/schedules/three_stages_sgd.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=27, supervision='frames', glance=dict(shift='causal'), focus=dict(shift='causal'))
num_frames = 16
train_dataloader = dict(batch_size=8)
