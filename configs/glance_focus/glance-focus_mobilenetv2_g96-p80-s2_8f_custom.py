"""Glance-and-Focus on a set of your own; the number of classes is that of the prepared dataset."""

_base_ = [
    '../_base_/models/glance_focus_mobilenetv2.py',
    '../_base_/datasets/custom.py',
    '../_base_/schedules/joint.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=None,
    glance_size=96,
    patch_size=80,
    policy=dict(_delete_=True, type='ValueMapPolicy', scope='frame'),
)
train_cfg = dict(max_epochs=10)
auto_scale_lr = dict(base_batch_size=16)
