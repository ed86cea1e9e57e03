"""The toy set of data_prep/toy.py, prepared by data_prep/something_something.py; mirroring swaps the two
directions."""

_root = '{{$GFVIDEO_TOY:work_dirs/demo/prepared}}'
_prepare = 'make demo'
num_frames = 8
flip = dict(label_map={0: 1, 2: 3, 4: 5})
# frames=None and prob=None stand for num_frames and flip, however a config that inherits this one sets them
train_pipeline = [
    dict(type='SampleFrames', frames=None, strategy='segment'),
    dict(type='DecodeFrames'),
    dict(type='RandomCrop', size=112),
    dict(type='Flip', prob=None),
    dict(type='ColourJitter', brightness=0.2, contrast=0.2),
    dict(type='PackClip'),
]
test_pipeline = [
    dict(type='SampleFrames', frames=None, strategy='segment', test_mode=True),
    dict(type='DecodeFrames'),
    dict(type='CentreCrop', size=112),
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
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ClipDataset', root=_root, split='val', prepare=_prepare, pipeline=test_pipeline, test_mode=True
    ),
)
test_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ClipDataset', root=_root, split='test', prepare=_prepare, pipeline=test_pipeline, test_mode=True
    ),
)
val_evaluator = test_evaluator = dict(type='ClipAccuracy')
val_cfg = test_cfg = dict()
auto_scale_lr = dict(base_batch_size=16)
