"""SGD for 50 epochs with steps at 20 and 40 (TSM's recipe for Kinetics: rate 0.02 for 128 clips, by the kind
of a parameter, decay 1e-4)."""

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TSMOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=20),
)
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=1)
param_scheduler = [dict(type='MultiStepLR', milestones=[20, 40], gamma=0.1, by_epoch=True)]
auto_scale_lr = dict(enable=False, base_batch_size=128)
