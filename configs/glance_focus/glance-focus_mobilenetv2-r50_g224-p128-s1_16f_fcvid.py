"""As on ActivityNet, whose settings AdaFocus' repository gives as an example for all."""

_base_ = [
    '../_base_/models/glance_focus_mobilenetv2_r50.py',
    '../_base_/datasets/fcvid.py',
    '../_base_/schedules/three_stages_sgd.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=239,
    dropout=0.8,
    classifier=dict(dropout=0.8),
    reward='contrast',
    glance=dict(shift=None),
    focus=dict(shift=None),
)
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(
    optimizer=dict(lr=0.05, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(glance_encoder=dict(lr_mult=0.2), focus_encoder=dict(lr_mult=0.2))),
)
train_cfg = dict(max_epochs=50)
stages = dict(
    policy=dict(train_cfg=dict(max_epochs=50)),
    tune=dict(train_cfg=dict(max_epochs=10), optim_wrapper=dict(optimizer=dict(lr=0.005))),
)
default_hooks = dict(checkpoint=dict(save_best='mAP'))
