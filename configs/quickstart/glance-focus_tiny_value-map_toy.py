"""A value map that learns beside the encoders, in minutes on two CPU cores; the demo trains it."""

_base_ = [
    '../_base_/models/glance_focus_tiny.py',
    '../_base_/datasets/toy.py',
    '../_base_/schedules/joint.py',
    '../_base_/default_runtime.py',
]
model = dict(policy=dict(_delete_=True, type='ValueMapPolicy', hidden=16))
optim_wrapper = dict(optimizer=dict(lr=2e-3), paramwise_cfg=None)
stages = dict(tune=dict(train_cfg=dict(max_epochs=2), optim_wrapper=dict(optimizer=dict(lr=1e-3))))
