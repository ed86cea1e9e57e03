"""AdaFocus V2 in minutes on two CPU cores."""

_base_ = [
    '../_base_/models/adafocus_tiny.py',
    '../_base_/datasets/toy.py',
    '../_base_/schedules/adafocus.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=0.05))
train_dataloader = dict(drop_last=True)
train_cfg = dict(max_epochs=10, val_interval=2)
