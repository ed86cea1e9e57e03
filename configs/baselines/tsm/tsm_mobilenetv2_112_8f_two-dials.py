_base_ = './tsm_mobilenetv2_224_8f_two-dials.py'
model = dict(input_size=112)
train_cfg = dict(max_epochs=8, val_interval=4)
