_base_ = './tsm_mobilenetv2_224_8f_handwash.py'
model = dict(input_size=160)
train_cfg = dict(max_epochs=8, val_interval=4)
