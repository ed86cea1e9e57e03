"""ImageNet, or any pictures in class folders: clips of one frame, a random crop and a mirror."""

_root = '{{$GFVIDEO_IMAGENET:data/imagenet}}'
_prepare = 'python data_prep/images.py --videos DIR --out ' + _root
num_frames = 1
flip = dict(label_map={})
# frames=None and prob=None stand for num_frames and flip, however a config that inherits this one sets them
train_pipeline = [
    dict(type='SampleFrames', frames=None, strategy='segment'),
    dict(type='DecodeFrames'),
    dict(type='RandomResizedCrop', size=224),
    dict(type='Flip', prob=None),
    dict(type='PackClip'),
]
test_pipeline = [
    dict(type='SampleFrames', frames=None, strategy='segment', test_mode=True),
    dict(type='DecodeFrames'),
    dict(type='ResizeShortSide', short=256),
    dict(type='CentreCrop', size=224),
    dict(type='PackClip'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=None,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='ClipDataset', root=_root, split='train', prepare=_prepare, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=None,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ClipDataset', root=_root, split='val', prepare=_prepare, pipeline=test_pipeline, test_mode=True
    ),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='ClipAccuracy')
val_cfg = test_cfg = dict()
