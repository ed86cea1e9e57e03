"""Encoders and a value map in one run, half of the patches random and half drawn where the map promises much;
then encoders and classifier on the map's choices. The map starts from nothing, and learns at a
higher rate than pretrained encoders."""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.01),
    clip_grad=dict(max_norm=20),
    paramwise_cfg=dict(custom_keys={'policy.': dict(lr_mult=4.0)}),
)
train_cfg = dict(by_epoch=True, max_epochs=6, val_interval=2)
param_scheduler = [
    dict(type='WarmupLR', share=0.1, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, by_epoch=True, convert_to_iter_based=True),
]
stages = dict(
    joint=dict(model=dict(train_centres='mixed')),
    tune=dict(
        model=dict(train_centres='mean', frozen=('policy',)),
        train_cfg=dict(max_epochs=3, val_interval=1),
        optim_wrapper=dict(optimizer=dict(lr=2e-4)),
    ),
)
