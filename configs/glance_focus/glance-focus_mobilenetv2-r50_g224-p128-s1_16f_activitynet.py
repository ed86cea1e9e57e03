"""Epochs, rates of the classifier and the policy, dropout, decay and batch of AdaFocus' repository (ICCV
2021). It fine-tunes both image networks for 15 epochs at 0.01 beforehand; here they learn at that rate in the
first stage. Several classes of a video have equal shares of the cross-entropy; there one of them is drawn."""

_base_ = [
    '../_base_/models/glance_focus_mobilenetv2_r50.py',
    '../_base_/datasets/activitynet.py',
    '../_base_/schedules/three_stages_sgd.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=200,
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
