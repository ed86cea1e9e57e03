"""The three stages with PPO, on two CPU cores in minutes."""

_base_ = [
    '../_base_/models/glance_focus_tiny.py',
    '../_base_/datasets/toy.py',
    '../_base_/schedules/three_stages.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=2e-3))
train_cfg = dict(max_epochs=8)
stages = dict(
    policy=dict(train_cfg=dict(max_epochs=3, val_interval=1)),
    tune=dict(optim_wrapper=dict(optimizer=dict(lr=1e-3))),
)
