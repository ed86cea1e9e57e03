"""Surveillance clips of many sizes in Kinetics form; people are small in them, so 4:3 is kept at 320x240."""

_root = '{{$GFVIDEO_SURVEILLANCE:data/surveillance_kinetics}}'
_prepare = (
    'python data_prep/kinetics.py --version custom --to original --videos DIR --annotations DIR --out '
    + _root
)
num_frames = 8
flip = dict(label_map={})
# frames=None and prob=None stand for num_frames and flip, however a config that inherits this one sets them
train_pipeline = [
    dict(type='SampleFrames', frames=None, strategy='segment'),
    dict(type='DecodeFrames'),
    dict(type='RandomResizedCrop', size=(240, 320), area=(0.5, 1.0), ratio=(1.2, 1.5)),
    dict(type='Flip', prob=None),
    dict(type='PackClip'),
]
test_pipeline = [
    dict(type='SampleFrames', frames=None, strategy='segment', test_mode=True),
    dict(type='DecodeFrames'),
    dict(type='ResizeShortSide', short=256),
    dict(type='CentreCrop', size=(240, 320)),
    dict(type='PackClip'),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='ClipDataset', root=_root, split='train', prepare=_prepare, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ClipDataset', root=_root, split='val', prepare=_prepare, pipeline=test_pipeline, test_mode=True
    ),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='ClipAccuracy')
val_cfg = test_cfg = dict()
auto_scale_lr = dict(base_batch_size=16)
