_base_ = [
    '../_base_/models/glance_focus_mobilenetv2_r50.py',
    '../_base_/datasets/ucf101.py',
    '../_base_/schedules/three_stages_sgd.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=101)
