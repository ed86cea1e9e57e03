"""GFNet on pictures, with MobileNetV3-Large: three looks of 128 pixels, and no shift. Rates, decay, batch and
epochs are the published ones, and the glance keeps its ImageNet weights, as published."""

_base_ = [
    '../_base_/models/glance_focus_mobilenetv3_large.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/three_stages_sgd_mobile.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=1000, glance=dict(shift=None), focus=dict(shift=None))
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4), clip_grad=None)
stages = dict(
    random=dict(model=dict(frozen=('policy', 'glance_encoder'))),
    tune=dict(model=dict(frozen=('policy', 'glance_encoder'))),
)
auto_scale_lr = dict(base_batch_size=256)
