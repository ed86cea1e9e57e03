"""Two tiny encoders, both on whole frames, with no policy between them."""

_base_ = [
    '../../_base_/models/glance_focus_tiny.py',
    '../../_base_/datasets/toy.py',
    '../../_base_/schedules/adamw_tsm.py',
    '../../_base_/default_runtime.py',
]
model = dict(
    glance_size=112,
    patch_size=112,  # the frame: where it is cut makes no difference
    steps=1,
    policy=dict(_delete_=True, type='CentrePolicy'),
    train_centres='centre',
    test_centres='centre',
)
optim_wrapper = dict(
    optimizer=dict(lr=2e-3), paramwise_cfg=dict(last_layers=['classifier', 'glance_head', 'focus_head'])
)
train_cfg = dict(max_epochs=4)
