_base_ = [
    '../_base_/models/adafocus_mobilenetv2_r50.py',
    '../_base_/datasets/jester.py',
    '../_base_/schedules/adafocus.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=27)
num_frames = 12
train_dataloader = dict(batch_size=8, drop_last=True)
auto_scale_lr = dict(enable=False, base_batch_size=32)
flip = dict(prob=0.0)  # as published
