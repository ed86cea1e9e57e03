"""Reads a video frame by frame and answers after every frame: causal shift, supervised after every frame."""

_base_ = './glance-focus_mobilenetv2_g80-p72-s2_8f_turning-camera.py'
model = dict(
    glance_size=96,
    patch_size=80,
    supervision='frames',
    glance=dict(shift='causal'),
    focus=dict(shift='causal'),
)
