_base_ = [
    '../_base_/models/tsm_tiny.py',
    '../_base_/datasets/toy.py',
    '../_base_/schedules/adamw.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=2e-3))
train_cfg = dict(max_epochs=4)
