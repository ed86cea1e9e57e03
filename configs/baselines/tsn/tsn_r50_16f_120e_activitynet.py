"""The baseline of AR-Net's repository (scripts_train_new.sh): 120 epochs at 0.001 for 48 videos, a tenth of
it from epoch 100 on."""

_base_ = [
    '../../_base_/models/tsm_r50.py',
    '../../_base_/datasets/activitynet.py',
    '../../_base_/schedules/sgd_50e_kinetics.py',
    '../../_base_/default_runtime.py',
]
model = dict(num_classes=200, encoder=dict(shift=None))
train_dataloader = dict(batch_size=12)
optim_wrapper = dict(optimizer=dict(lr=0.001))
train_cfg = dict(max_epochs=120)
param_scheduler = [dict(type='MultiStepLR', milestones=[100], gamma=0.1, by_epoch=True)]
auto_scale_lr = dict(base_batch_size=48)
default_hooks = dict(checkpoint=dict(save_best='mAP'))
