"""Reads a video frame by frame and answers after every frame: causal shift, supervised after every frame, the
later ones more."""

_base_ = './glance-focus_mobilenetv2_g80-p72-s2_8f_value-map_turning-camera.py'
model = dict(supervision='rising', glance=dict(shift='causal'), focus=dict(shift='causal'))
