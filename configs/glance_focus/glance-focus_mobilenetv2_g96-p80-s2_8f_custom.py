"""Glance-and-Focus on a set of your own; the number of classes is that of the prepared dataset."""

_base_ = [
    '../_base_/models/glance_focus_mobilenetv2.py',
    '../_base_/datasets/custom.py',
    '../_base_/schedules/three_stages.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=None, glance_size=96, patch_size=80)
auto_scale_lr = dict(base_batch_size=16)
