_base_ = [
    '../../_base_/models/tsm_mobilenetv2.py',
    '../../_base_/datasets/kinetics400.py',
    '../../_base_/schedules/sgd_50e_kinetics.py',
    '../../_base_/default_runtime.py',
]
model = dict(num_classes=400)
