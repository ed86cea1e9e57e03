"""Reads a video frame by frame and answers after every frame: causal shift, supervised after every frame, the
later ones more. A quarter of the channels comes from the frame before, as many as the bidirectional shift
takes from both sides."""

_base_ = './glance-focus_mobilenetv2_g80-p72-s2_8f_value-map_turning-camera.py'
model = dict(
    supervision='rising',
    glance=dict(shift='causal', fold_div=4),
    focus=dict(shift='causal', fold_div=4),
)
