"""Sixteen patches a clip, as many as AdaFocus cuts with 8+16 frames."""

_base_ = [
    '../_base_/models/glance_focus_mobilenetv2_r50.py',
    '../_base_/datasets/something_something_v1.py',
    '../_base_/schedules/three_stages_sgd.py',
    '../_base_/default_runtime.py',
]
model = dict(steps=2)
