"""GFNet's three stages with its rates for ResNets: layers that start from random weights 0.1 in the first
stage and 0.01 in the last, the encoders 0.01, the policy by Adam at 3e-4; 60, 15 and 60 epochs, each with a
cosine. The decay is TSM's for Something-Something; Kinetics takes 1e-4."""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    clip_grad=dict(max_norm=20),
    paramwise_cfg=dict(custom_keys=dict(glance_encoder=dict(lr_mult=0.1), focus_encoder=dict(lr_mult=0.1))),
)
train_cfg = dict(by_epoch=True, max_epochs=60, val_interval=5)
param_scheduler = [dict(type='CosineAnnealingLR', begin=0, by_epoch=True, convert_to_iter_based=True)]
stages = dict(
    random=dict(model=dict(train_centres='random', test_centres='random', frozen=('policy',))),
    policy=dict(
        model=dict(frozen=('glance_encoder', 'focus_encoder', 'classifier', 'glance_head', 'focus_head')),
        train_cfg=dict(type='PolicyLoop', max_epochs=15, update_epochs=4, minibatches=4),
        optim_wrapper=dict(
            optimizer=dict(_delete_=True, type='Adam', lr=3e-4),
            paramwise_cfg=dict(_delete_=True),
            clip_grad=dict(max_norm=1.0),
        ),
    ),
    tune=dict(
        model=dict(train_centres='mean', frozen=('policy',)),
        optim_wrapper=dict(optimizer=dict(lr=0.01), paramwise_cfg=dict(_delete_=True)),
    ),
)
auto_scale_lr = dict(enable=False, base_batch_size=64)
