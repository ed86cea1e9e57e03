_base_ = [
    '../../_base_/models/tsm_mobilenetv2.py',
    '../../_base_/datasets/surveillance.py',
    '../../_base_/schedules/adamw_tsm.py',
    '../../_base_/default_runtime.py',
]
model = dict(num_classes=2, dropout=0.2, encoder=dict(frozen_stride=4))
train_cfg = dict(max_epochs=5, val_interval=5)
