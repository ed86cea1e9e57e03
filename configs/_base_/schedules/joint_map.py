"""As joint.py, with a stage of the value map alone between the two: the encoders can read patches by
then, and stay as they are while the map learns where reading pays."""

_base_ = ['joint.py']
_others = ('glance_encoder', 'focus_encoder', 'classifier', 'glance_head', 'focus_head')
stages = dict(
    _delete_=True,
    joint=dict(model=dict(train_centres='mixed')),
    map=dict(
        model=dict(train_centres='mixed', frozen=_others),
        train_cfg=dict(max_epochs=10, val_interval=5),
    ),
    tune=dict(
        model=dict(train_centres='mean', frozen=('policy',)),
        train_cfg=dict(max_epochs=3, val_interval=1),
        optim_wrapper=dict(optimizer=dict(lr=2e-4)),
    ),
)
