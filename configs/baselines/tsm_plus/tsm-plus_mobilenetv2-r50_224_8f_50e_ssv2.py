"""MobileNetV2 and then ResNet-50, both on whole frames at 224 pixels, with no policy between them."""

_base_ = [
    '../../_base_/models/glance_focus_mobilenetv2_r50.py',
    '../../_base_/datasets/something_something_v2.py',
    '../../_base_/schedules/sgd_50e.py',
    '../../_base_/default_runtime.py',
]
model = dict(
    patch_size=224,  # the frame: where it is cut makes no difference
    policy=dict(_delete_=True, type='CentrePolicy'),
    train_centres='centre',
    test_centres='centre',
)
optim_wrapper = dict(paramwise_cfg=dict(last_layers=['classifier', 'glance_head', 'focus_head']))
