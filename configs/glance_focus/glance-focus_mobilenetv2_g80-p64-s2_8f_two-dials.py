"""Two small dials at two places, one look for each. At the end the value map goes on learning by itself, from
two more looks beside each that is taken: small things are found late."""

_base_ = [
    '../_base_/models/glance_focus_mobilenetv2.py',
    '../_base_/datasets/two_dials.py',
    '../_base_/schedules/joint.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=12,
    glance_size=80,
    patch_size=64,
    glance=dict(frozen_stride=4),
    focus=dict(frozen_stride=4),
    policy=dict(_delete_=True, type='ValueMapPolicy', scope='frame', stem_depth=4),
)
train_cfg = dict(max_epochs=10, val_interval=5)
_others = ('glance_encoder', 'focus_encoder', 'classifier', 'glance_head', 'focus_head')
stages = dict(
    tune=dict(train_cfg=dict(max_epochs=5, val_interval=5)),
    map=dict(
        model=dict(train_centres='mixed', frozen=_others, value_looks=2),
        train_cfg=dict(max_epochs=5, val_interval=5),
    ),
)
