"""MobileNetV2 twice, both on whole frames at full resolution, with no policy between them."""

_base_ = [
    '../../_base_/models/glance_focus_mobilenetv2.py',
    '../../_base_/datasets/turning_camera.py',
    '../../_base_/schedules/adamw_tsm.py',
    '../../_base_/default_runtime.py',
]
model = dict(
    num_classes=12,
    glance_size=(240, 320),
    patch_size=(240, 320),  # the frame: where it is cut makes no difference
    steps=1,
    glance=dict(frozen_stride=4),
    focus=dict(frozen_stride=4),
    policy=dict(_delete_=True, type='CentrePolicy'),
    train_centres='centre',
    test_centres='centre',
)
optim_wrapper = dict(paramwise_cfg=dict(last_layers=['classifier', 'glance_head', 'focus_head']))
train_cfg = dict(max_epochs=5, val_interval=5)
