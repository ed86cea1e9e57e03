"""GFNet on pictures, with ResNet-50: five looks of 128 pixels, and no shift, for there is no time. Rates,
decay, batch and epochs are the published ones."""

_base_ = [
    '../_base_/models/glance_focus_r50.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/three_stages_sgd.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=1000,
    glance_size=128,
    patch_size=128,
    steps=4,
    dropout=0.0,
    glance=dict(shift=None),
    focus=dict(shift=None),
    classifier=dict(dropout=0.0),
)
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4), clip_grad=None)
auto_scale_lr = dict(base_batch_size=256)
