"""AdamW, a short warm-up, then a cosine to zero over the epochs that train_cfg names."""

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.01), clip_grad=dict(max_norm=20)
)
train_cfg = dict(by_epoch=True, max_epochs=8, val_interval=2)
param_scheduler = [
    dict(type='WarmupLR', share=0.1, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, by_epoch=True, convert_to_iter_based=True),
]
