"""AdaFocus V2's recipe for TSM: SGD for 50 epochs with a cosine, rate 0.01 for 32 clips, half of it for the
glance's network and a hundredth for the policy."""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4),
    clip_grad=dict(max_norm=20),
    paramwise_cfg=dict(
        custom_keys={
            'glance_encoder': dict(lr_mult=0.5),
            'glance_head': dict(lr_mult=0.5),
            'classifier.glance': dict(lr_mult=0.5),
            'policy': dict(lr_mult=0.01),
        }
    ),
)
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=1)
param_scheduler = [dict(type='CosineAnnealingLR', begin=0, by_epoch=True)]
