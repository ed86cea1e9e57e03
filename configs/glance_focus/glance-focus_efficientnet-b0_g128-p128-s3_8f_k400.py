_base_ = [
    '../_base_/models/glance_focus_efficientnet_b0.py',
    '../_base_/datasets/kinetics400.py',
    '../_base_/schedules/three_stages_sgd_mobile.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=400)
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
train_cfg = dict(max_epochs=30)
