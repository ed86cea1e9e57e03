"""A value map that learns beside the encoders, and then by itself, says where to look."""

_base_ = [
    '../_base_/models/glance_focus_mobilenetv2.py',
    '../_base_/datasets/turning_camera.py',
    '../_base_/schedules/joint_map.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=12,
    glance_size=80,
    patch_size=72,
    glance=dict(frozen_stride=4),
    focus=dict(frozen_stride=4),
    policy=dict(_delete_=True, type='ValueMapPolicy', scope='frame', stem_depth=4, stem_norm=True),
)
_plain = [  # the map learns sooner from clips as they are at test, but mirrored
    dict(type='SampleFrames', frames=None, strategy='segment'),
    dict(type='DecodeFrames'),
    dict(type='Flip', prob=None),
    dict(type='PackClip'),
]
stages = dict(map=dict(train_dataloader=dict(dataset=dict(pipeline=_plain))))
