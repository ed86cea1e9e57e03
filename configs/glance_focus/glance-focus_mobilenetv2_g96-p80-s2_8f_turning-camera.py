_base_ = './glance-focus_mobilenetv2_g80-p72-s2_8f_turning-camera.py'
model = dict(glance_size=96, patch_size=80)
