"""Encoders and a value map by turns: both together as in joint.py, then the map alone on encoders that can
read patches by then and stay as they are; and once more, now that patches are where there is something to
read, with looks that teach the map alone and draws that keep closer to what it promises."""

_base_ = ['joint.py']
_others = ('glance_encoder', 'focus_encoder', 'classifier', 'glance_head', 'focus_head')
_later = dict(value_looks=2, policy=dict(temperature=0.03))
stages = dict(
    _delete_=True,
    joint=dict(model=dict(train_centres='mixed')),
    map=dict(
        model=dict(train_centres='mixed', frozen=_others),
        train_cfg=dict(max_epochs=10, val_interval=5),
    ),
    joint_again=dict(
        model=dict(train_centres='mixed', **_later),
        train_cfg=dict(max_epochs=5, val_interval=5),
    ),
    map_again=dict(
        model=dict(train_centres='mixed', frozen=_others, **_later),
        train_cfg=dict(max_epochs=5, val_interval=5),
    ),
)
