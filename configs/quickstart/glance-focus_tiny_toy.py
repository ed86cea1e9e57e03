"""Learns on two CPU cores in minutes; the demo trains it."""

_base_ = [
    '../_base_/models/glance_focus_tiny.py',
    '../_base_/datasets/toy.py',
    '../_base_/schedules/three_stages.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=2e-3))
train_cfg = dict(max_epochs=8)
stages = [
    dict(name='random', model=dict(train_centres='random', test_centres='random', frozen=('policy',))),
    dict(
        name='policy',
        model=dict(frozen=('glance_encoder', 'focus_encoder', 'classifier', 'glance_head', 'focus_head')),
        train_cfg=dict(type='PolicyLoop', max_epochs=3, val_interval=1, update_epochs=4, minibatches=2),
        optim_wrapper=dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=1.0)),
    ),
    dict(
        name='tune',
        model=dict(train_centres='mean', frozen=('policy',)),
        train_cfg=dict(max_epochs=2, val_interval=1),
        optim_wrapper=dict(optimizer=dict(lr=1e-3)),
    ),
]
