"""Two small dials at two places, one look for each."""

_base_ = [
    '../_base_/models/glance_focus_mobilenetv2.py',
    '../_base_/datasets/two_dials.py',
    '../_base_/schedules/joint_map.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=12,
    glance_size=80,
    patch_size=64,
    glance=dict(frozen_stride=4),
    focus=dict(frozen_stride=4),
    policy=dict(  # a glance of 80x80 hardly shows the dials: the map reads 160x160 pixels
        _delete_=True,
        type='ValueMapPolicy',
        scope='frame',
        stem_size=160,
        stem_stride=8,
        stem_depth=5,
        stem_norm=True,
    ),
)
train_cfg = dict(max_epochs=10, val_interval=5)
_plain = [  # the map learns sooner from clips as they are at test, but mirrored
    dict(type='SampleFrames', frames=None, strategy='segment'),
    dict(type='DecodeFrames'),
    dict(type='Flip', prob=None),
    dict(type='PackClip'),
]
stages = dict(
    map=dict(
        train_dataloader=dict(dataset=dict(pipeline=_plain)),
        train_cfg=dict(max_epochs=8),  # the second dial takes longer to be found than the first
    )
)
