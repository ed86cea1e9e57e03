"""A static TSM on a set of your own; the number of classes is that of the prepared dataset."""

_base_ = [
    '../../_base_/models/tsm_mobilenetv2.py',
    '../../_base_/datasets/custom.py',
    '../../_base_/schedules/adamw_tsm.py',
    '../../_base_/default_runtime.py',
]
model = dict(num_classes=None, dropout=0.2)
auto_scale_lr = dict(base_batch_size=16)
