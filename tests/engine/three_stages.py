_base_ = '../../configs/_base_/default_runtime.py'
custom_imports = dict(imports=['toy_clips'], allow_failed_imports=False)

encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4)
model = dict(
    type='GlanceFocusRecognizer',
    num_classes=3,
    glance=encoder,
    focus=encoder,
    glance_size=16,
    patch_size=16,
    steps=2,
    dropout=0.2,
    policy=dict(type='RecurrentGaussianPolicy', hidden=8, reduced=4),
    classifier=dict(type='RecurrentClassifier', hidden=8),
    data_preprocessor=dict(type='ClipPreprocessor'),
)

train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='BrightSquares'),
)
val_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='BrightSquares', clips=3),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='ClipAccuracy')
val_cfg = test_cfg = dict()
train_cfg = dict(by_epoch=True, max_epochs=2)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9), clip_grad=dict(max_norm=5)
)
param_scheduler = dict(type='CosineAnnealingLR', T_max=8, by_epoch=False)
auto_scale_lr = dict(base_batch_size=2)
default_hooks = dict(logger=dict(interval=2), checkpoint=dict(save_best='top1', rule='greater'))

stages = dict(
    random=dict(model=dict(train_centres='random', frozen=('policy',))),
    policy=dict(
        train_cfg=dict(type='PolicyLoop', update_epochs=2, minibatches=2),
        model=dict(frozen=('glance_encoder', 'focus_encoder', 'classifier', 'glance_head', 'focus_head')),
        optim_wrapper=dict(optimizer=dict(_delete_=True, type='Adam', lr=3e-3)),
    ),
    tune=dict(
        model=dict(train_centres='sample', frozen=('policy',)),
        optim_wrapper=dict(optimizer=dict(lr=0.01)),
    ),
)
