"""Clips of 640x480 in Kinetics form: the steps of washing hands, seen from above, five of them with the left
or the right hand. Frames keep their size, since fingers decide.

Classes are named by step and side; a mirrored clip changes the side, and takes the class of that.
"""

_mirrored = {f'step {step} left': f'step {step} right' for step in (2, 4, 5, 6, 7)}
_root = '{{$GFVIDEO_HANDWASH:data/handwash_kinetics}}'
_prepare = (
    'python data_prep/kinetics.py --version custom --to original --videos DIR --annotations DIR --out '
    + _root
)
num_frames = 8
flip = dict(label_map=_mirrored)
# frames=None and prob=None stand for num_frames and flip, however a config that inherits this one sets them
train_pipeline = [
    dict(type='SampleFrames', frames=None, strategy='segment'),
    dict(type='DecodeFrames'),
    dict(type='RandomResizedCrop', size=(480, 640), area=(0.5, 1.0), ratio=(1.1, 1.6)),
    dict(type='Flip', prob=None),
    dict(type='PackClip'),
]
test_pipeline = [
    dict(type='SampleFrames', frames=None, strategy='segment', test_mode=True),
    dict(type='DecodeFrames'),
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
