"""The value map goes on learning by itself, on networks that are done, from many looks beside each one that
is taken."""

_base_ = ['glance-focus_mobilenetv2_g80-p72-s2_8f_value-map_turning-camera.py']
_others = ('glance_encoder', 'focus_encoder', 'classifier', 'glance_head', 'focus_head')
stages = dict(
    map=dict(
        model=dict(train_centres='mixed', frozen=_others, value_looks=6),
        train_cfg=dict(max_epochs=4, val_interval=4),
    ),
)
