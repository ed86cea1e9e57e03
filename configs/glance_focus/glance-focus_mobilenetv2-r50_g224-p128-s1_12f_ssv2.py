"""Costs about what AdaFocus prints for 8+12 frames with patches of 128."""

_base_ = [
    '../_base_/models/glance_focus_mobilenetv2_r50.py',
    '../_base_/datasets/something_something_v2.py',
    '../_base_/schedules/three_stages_sgd.py',
    '../_base_/default_runtime.py',
]
num_frames = 12
train_dataloader = dict(batch_size=8)
