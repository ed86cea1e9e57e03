"""Clips of 480x360 in Something-Something-V2 form whose classes are directions and two small dials that stand
apart, read at full resolution: one look at one place cannot know both.

So few clips are soon known by heart; varied ones are not. A mirrored clip turns the other way, and takes the
class of that.
"""

_turned = {
    f'Turning the camera left while filming {it}': f'Turning the camera right while filming {it}'
    for it in ('a clock and a compass', 'a clock and a stopwatch', 'a compass and a stopwatch')
}
_root = '{{$GFVIDEO_TWO_DIALS:data/two_dials_ssv2}}'
_prepare = (
    'python data_prep/something_something.py --to original --videos DIR --annotations DIR --out ' + _root
)
num_frames = 8
flip = dict(label_map=_turned)
# frames=None and prob=None stand for num_frames and flip, however a config that inherits this one sets them
train_pipeline = [
    dict(type='SampleFrames', frames=None, strategy='segment'),
    dict(type='DecodeFrames'),
    dict(type='RandomResizedCrop', size=(360, 480), area=(0.5, 1.0), ratio=(1.1, 1.6)),
    dict(type='Flip', prob=None),
    dict(type='ColourJitter', brightness=0.3, contrast=0.3, saturation=0.3, hue=0.05),
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
