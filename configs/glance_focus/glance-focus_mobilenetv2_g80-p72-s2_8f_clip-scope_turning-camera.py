_base_ = './glance-focus_mobilenetv2_g80-p72-s2_8f_turning-camera.py'
model = dict(policy=dict(scope='clip'))
