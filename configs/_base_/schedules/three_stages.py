"""GFNet's three stages: random patches; the policy alone, by PPO; encoders and classifier again, on the
policy's patches."""

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.01), clip_grad=dict(max_norm=20)
)
train_cfg = dict(by_epoch=True, max_epochs=6, val_interval=2)
param_scheduler = [
    dict(type='WarmupLR', share=0.1, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, by_epoch=True, convert_to_iter_based=True),
]
stages = dict(
    random=dict(model=dict(train_centres='random', test_centres='random', frozen=('policy',))),
    policy=dict(
        model=dict(frozen=('glance_encoder', 'focus_encoder', 'classifier', 'glance_head', 'focus_head')),
        train_cfg=dict(type='PolicyLoop', max_epochs=8, val_interval=4, update_epochs=4, minibatches=2),
        optim_wrapper=dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=1.0)),
    ),
    tune=dict(
        model=dict(train_centres='mean', frozen=('policy',)),
        train_cfg=dict(max_epochs=2, val_interval=1),
        optim_wrapper=dict(optimizer=dict(lr=2e-4)),
    ),
)
