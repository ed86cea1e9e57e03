_base_ = [
    '../../_base_/models/tsm_r50.py',
    '../../_base_/datasets/something_something_v2.py',
    '../../_base_/schedules/sgd_50e.py',
    '../../_base_/default_runtime.py',
]
num_frames = 16
train_dataloader = dict(batch_size=8)
