_base_ = [
    '../_base_/models/glance_focus_mobilenetv2_r50.py',
    '../_base_/datasets/mini_kinetics_arnet.py',
    '../_base_/schedules/three_stages_sgd.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=200, patch_size=96)
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
num_frames = 16
train_dataloader = dict(batch_size=8)
