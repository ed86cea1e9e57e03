"""Encoders and a value map in one run; then the map alone, several times from each look and from
four others in its place; then encoders and classifier on the map's choices.

Alone, the map learns sooner from clips as they are at test; a config asks for them with a pipeline of
this stage.
"""

_base_ = './joint.py'
_others = ('glance_encoder', 'focus_encoder', 'classifier', 'glance_head', 'focus_head')
stages = dict(
    _delete_=True,
    joint=dict(model=dict(train_centres='mixed')),
    map=dict(
        model=dict(train_centres='mixed', frozen=_others, value_looks=4),
        train_dataloader=dict(batch_size=32),
        train_cfg=dict(type='PolicyLoop', max_epochs=4, val_interval=4, update_epochs=4, minibatches=2),
    ),
    tune=dict(
        model=dict(train_centres='mean', frozen=('policy',)),
        train_cfg=dict(max_epochs=8, val_interval=4),
        optim_wrapper=dict(optimizer=dict(lr=4e-4)),
    ),
)
