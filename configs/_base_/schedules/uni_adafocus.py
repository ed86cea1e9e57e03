"""Uni-AdaFocus' recipe for TSM: as adafocus.py, with rate 0.02 for 64 clips, a fifth of it for both policies,
and half for the layer through which the window's policy learns. The decay is that for Something-Something V2;
V1 and Jester take 1e-3."""

_base_ = './adafocus.py'
optim_wrapper = dict(
    optimizer=dict(lr=0.02),
    paramwise_cfg=dict(
        custom_keys={
            'window_head': dict(lr_mult=0.5),
            'policy': dict(lr_mult=0.2),  # frame_policy too
        }
    ),
)
