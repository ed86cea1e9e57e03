"""AdaFocus V2 on few clips: rates as published, for 16 clips, and fewer epochs."""

_base_ = [
    '../_base_/models/adafocus_mobilenetv2.py',
    '../_base_/datasets/turning_camera.py',
    '../_base_/schedules/adafocus.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=12, glance=dict(frozen_stride=4), focus=dict(frozen_stride=4))
optim_wrapper = dict(optimizer=dict(lr=0.005))
train_dataloader = dict(drop_last=True)
train_cfg = dict(max_epochs=10, val_interval=5)
