_base_ = [
    '../_base_/models/uni_adafocus_mobilenetv2_r50.py',
    '../_base_/datasets/jester.py',
    '../_base_/schedules/uni_adafocus.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=27, loss_weights=dict(window_size=0.25))
optim_wrapper = dict(optimizer=dict(weight_decay=1e-3))
num_frames = 36  # of which 12 are focused on
train_dataloader = dict(batch_size=16, drop_last=True)
auto_scale_lr = dict(enable=False, base_batch_size=64)
flip = dict(prob=0.0)  # as published
