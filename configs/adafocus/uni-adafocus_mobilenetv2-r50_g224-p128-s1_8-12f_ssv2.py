_base_ = [
    '../_base_/models/uni_adafocus_mobilenetv2_r50.py',
    '../_base_/datasets/something_something_v2.py',
    '../_base_/schedules/uni_adafocus.py',
    '../_base_/default_runtime.py',
]
num_frames = 36  # of which 12 are focused on
train_dataloader = dict(batch_size=16, drop_last=True)
auto_scale_lr = dict(enable=False, base_batch_size=64)
flip = dict(prob=0.0)  # as published
