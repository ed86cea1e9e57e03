"""Names of MMAction2 in configs: refused, with ours beside them."""

from __future__ import annotations

import pytest
from mmengine.registry import DefaultScope

from gfvideo.data.transforms import CentreCrop, ColourJitter
from gfvideo.engine.config.keys import faults_of_keys
from gfvideo.engine.config.mmaction2 import here_for_argument, here_for_type
from gfvideo.engine.stages import OWN_HOOKS
from gfvideo.registry import TRANSFORMS


def faults(cfg) -> list[str]:
    with DefaultScope.overwrite_default_scope('gfvideo'):
        return list(faults_of_keys(cfg, OWN_HOOKS))


def pipeline_of(*steps) -> dict:
    dataset = dict(type='ClipDataset', root='data', split='train', pipeline=list(steps))
    sampler = dict(type='DefaultSampler', shuffle=True)
    return dict(train_dataloader=dict(dataset=dataset, sampler=sampler, batch_size=1))


STEP = 'train_dataloader.dataset.pipeline.0'


@pytest.mark.parametrize(
    'name, here',
    [
        *(
            (name, "dict(type='DecodeFrames')")
            for name in (
                'DecordInit',
                'DecordDecode',
                'PyAVInit',
                'PyAVDecode',
                'OpenCVInit',
                'OpenCVDecode',
                'RawFrameDecode',
                'mmaction.DecordDecode',
            )
        ),
        ('UniformSample', "dict(type='SampleFrames', num_frames=T, strategy='uniform')"),
        ('FormatShape', "dict(type='PackClip')"),
        ('PackActionInputs', "dict(type='PackClip')"),
        ('TenCrop', "dict(type='ThreeCrop', size=SIZE)"),
    ],
)
def test_transforms(name, here):
    told = faults(pipeline_of(dict(type=name)))
    assert len(told) == 1 and told[0].startswith(f"{STEP}.type={name!r} is MMAction2's; here it is {here}")


@pytest.mark.parametrize(
    'step, told',
    [
        (
            dict(type='SampleFrames', clip_len=32),
            "clip_len=32 is MMAction2's; here it is num_frames: SampleFrames(clip_len=32, frame_interval=2,"
            " num_clips=10) is dict(type='SampleFrames', num_frames=32, strategy='multi_view', interval=2,"
            ' views=10)',
        ),
        (dict(type='SampleFrames', num_clips=8), "num_clips=8 is MMAction2's; here it is views; with"),
        (dict(type='SampleFrames', frame_interval=2), "frame_interval=2 is MMAction2's; here it is interval"),
        (
            dict(type='Resize', scale=(-1, 256)),
            "scale=(-1, 256) is MMAction2's; here it is dict(type='ResizeShortSide', short=256) for",
        ),
        (dict(type='Flip', flip_ratio=0.5), "flip_ratio=0.5 is MMAction2's; here it is prob"),
        (dict(type='CenterCrop', crop_size=224), "crop_size=224 is MMAction2's; here it is size"),
        (dict(type='ThreeCrop', crop_size=256), "crop_size=256 is MMAction2's; here it is size"),
    ],
)
def test_arguments_of_transforms(step, told):
    found = faults(pipeline_of(step))
    assert len(found) == 1 and found[0].startswith(f'{STEP}.{told}')


@pytest.mark.parametrize(
    'cfg, told',
    [
        (
            dict(train_dataloader=dict(dataset=dict(type='VideoDataset'), sampler=None)),
            "train_dataloader.dataset.type='VideoDataset' is MMAction2's; here it is dict(type='ClipDataset',"
            " root=FOLDER, split='train', form='mmaction2_video', list_file=LIST, classes=CLASSES)",
        ),
        (
            dict(train_dataloader=dict(dataset=dict(type='RawframeDataset'), sampler=None)),
            "train_dataloader.dataset.type='RawframeDataset' is MMAction2's; here it is"
            " dict(type='ClipDataset', root=FOLDER, split='train', form='mmaction2_frames',",
        ),
        (
            dict(val_evaluator=dict(type='AccMetric')),
            "val_evaluator.type='AccMetric' is MMAction2's; here it is dict(type='ClipAccuracy')",
        ),
        (
            dict(default_hooks=dict(visualization=dict(type='VisualizationHook'))),
            "default_hooks.visualization.type='VisualizationHook' is MMAction2's; here it is no hook",
        ),
        (
            dict(custom_hooks=[dict(type='VisualizationHook')]),
            "custom_hooks.0.type='VisualizationHook' is MMAction2's; here it is no hook",
        ),
        (
            dict(model=dict(type='Recognizer2D')),
            "model.type='Recognizer2D' is MMAction2's; here it is dict(type='ClipRecognizer', num_classes=C,",
        ),
        (
            dict(model=dict(type='ClipRecognizer', cls_head=dict(type='TSMHead'))),
            "model.cls_head={'type': 'TSMHead'} is MMAction2's; here it is num_classes and dropout of",
        ),
        (
            dict(model=dict(type='ClipRecognizer', encoder=dict(type='ResNetTSM'))),
            "model.encoder.type='ResNetTSM' is MMAction2's; here it is encoder=dict(type='Encoder',",
        ),
        (
            dict(model=dict(type='ClipRecognizer', encoder=dict(type='Encoder', shift_div=8))),
            "model.encoder.shift_div=8 is MMAction2's; here it is fold_div of the Encoder",
        ),
        (
            dict(model=dict(type='ClipRecognizer', encoder=dict(type='Encoder', num_segments=8))),
            "model.encoder.num_segments=8 is MMAction2's; here it is nothing: leave it out",
        ),
        (
            dict(model=dict(type='ClipRecognizer', num_class=3)),
            "model.num_class is unknown (its value: 3); did you mean 'num_classes'?",
        ),
    ],
)
def test_datasets_metrics_hooks_and_models(cfg, told):
    assert faults(cfg)[0].startswith(told)


@pytest.mark.parametrize(
    'cfg, told',
    [
        (pipeline_of(dict(type='DecodeFrame')), "no registered transform; did you mean 'DecodeFrames'?"),
        (pipeline_of(dict(type='Flip', probe=0.5)), "did you mean 'prob'?"),
        (pipeline_of(dict(type='SampleFrames', num_frame=8)), "did you mean 'num_frames'?"),
        (pipeline_of(dict(type='CentreCrop', siz=8)), "did you mean 'size'?"),
        (dict(val_evaluator=dict(type='ClipAcuracy')), "no registered metric; did you mean 'ClipAccuracy'?"),
        (dict(val_evaluator=dict(type='ClipAccuracy', cost=[1])), "did you mean 'costs'?"),
        (dict(custom_hooks=[dict(type='FinitHook')]), "no registered hook; did you mean 'FiniteHook'?"),
        (
            dict(custom_hooks=[dict(type='SafeCheckpointHook', intervall=1)]),
            "did you mean 'interval'?",
        ),
    ],
)
def test_other_unknown_names_are_told_with_the_nearest(cfg, told):
    found = faults(cfg)
    assert len(found) == 1 and told in found[0]


def test_american_spellings_build_ours():
    crop = TRANSFORMS.build(dict(type='CenterCrop', size=5))
    jitter = TRANSFORMS.build(dict(type='ColorJitter', brightness=0.2))
    assert type(crop) is CentreCrop and crop.size == (5, 5)
    assert type(jitter) is ColourJitter and jitter.strengths == (0.2, 0.0, 0.0)
    assert not faults(pipeline_of(dict(type='CenterCrop', size=5), dict(type='ColorJitter', hue=0.1)))


def test_names_that_are_not_in_the_table():
    assert here_for_type('ClipDataset') is None and here_for_type('mmaction.Nothing') is None
    assert here_for_argument('Flip', 'prob') is None and here_for_argument('Nothing', 'clip_len') is None
