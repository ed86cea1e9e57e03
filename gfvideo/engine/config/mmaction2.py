"""Names of MMAction2 that configs here do not take, with what stands for them here."""

from __future__ import annotations

__all__ = ['here_for_argument', 'here_for_type']

_DECODE = "dict(type='DecodeFrames'), once: it opens the video and reads the frames"
_PACK = "dict(type='PackClip')"
_LIST = "dict(type='ClipDataset', root=FOLDER, split='train', form='{}', list_file=LIST, classes=CLASSES)"
_MODEL = (
    "dict(type='ClipRecognizer', num_classes=C, encoder=dict(type='Encoder', backbone=dict(type='ResNet',"
    ' depth=50), shift={}))'
)
_TSM = "dict(type='Encoder', backbone=dict(type='ResNet', depth=50), shift='bidirectional', fold_div=8)"
_HEAD = 'num_classes and dropout of ClipRecognizer itself, which has no head of its own'
_PREPROCESSOR = "dict(type='ClipPreprocessor', mean=MEAN, std=STD)"

_TYPES = {
    # transforms
    **dict.fromkeys(
        (
            'DecordInit',
            'DecordDecode',
            'PyAVInit',
            'PyAVDecode',
            'OpenCVInit',
            'OpenCVDecode',
            'RawFrameDecode',
        ),
        _DECODE,
    ),
    **dict.fromkeys(
        ('UniformSample', 'UniformSampleFrames'),
        "dict(type='SampleFrames', num_frames=T, strategy='uniform')",
    ),
    **dict.fromkeys(('FormatShape', 'PackActionInputs', 'Collect', 'ToTensor'), _PACK),
    'TenCrop': "dict(type='ThreeCrop', size=SIZE); mirrored views there are none",
    'Normalize': f'data_preprocessor={_PREPROCESSOR}',
    # datasets
    'VideoDataset': _LIST.format('mmaction2_video'),
    'RawframeDataset': _LIST.format('mmaction2_frames'),
    # metrics and hooks
    'AccMetric': "dict(type='ClipAccuracy')",
    'VisualizationHook': 'no hook: leave it out; tools/test.py --show-dir DIR draws what a model sees',
    # models
    'Recognizer2D': _MODEL.format("'bidirectional' (TSM) or None (TSN)"),
    'ResNetTSM': f'encoder={_TSM}',
    'MobileNetV2TSM': f'encoder={_TSM.replace("ResNet", "MobileNetV2").replace(", depth=50", "")}',
    'TSMHead': _HEAD,
    'TSNHead': _HEAD,
    'ActionDataPreprocessor': _PREPROCESSOR,
    'ActionVisualizer': "dict(type='Visualizer')",
}

_SIZE = {'crop_size': 'size', 'lazy': 'nothing: leave it out'}
_FRAMES = 'nothing: leave it out, the model takes as many frames as SampleFrames(num_frames=T) gives'
_PRETRAINED = "init_cfg=dict(type='Pretrained', checkpoint=PATH_OR_URL) of the backbone"
_NETWORK = {
    'num_segments': _FRAMES,
    'shift_div': 'fold_div of the Encoder',
    'pretrained': _PRETRAINED,
}
_ARGUMENTS = {
    'SampleFrames': {
        'clip_len': 'num_frames: SampleFrames(clip_len=32, frame_interval=2, num_clips=10) is'
        " dict(type='SampleFrames', num_frames=32, strategy='multi_view', interval=2, views=10); with"
        ' clip_len=1 it is num_clips that is num_frames',
        'num_clips': 'views; with clip_len=1, as TSN and TSM have it, num_frames: SampleFrames(clip_len=1,'
        " num_clips=8) is dict(type='SampleFrames', num_frames=8, strategy='segment', rule='mmaction2')",
        'frame_interval': "interval, of strategy='multi_view'",
        'twice_sample': "views=2 with test_mode=True and strategy='segment'",
        'out_of_bound_opt': "beyond, of strategy='multi_view'",
    },
    'Resize': {
        'scale': "dict(type='ResizeShortSide', short=256) for scale=(-1, 256), dict(type='Resize', size=224)"
        ' for scale=(224, 224)',
        'keep_ratio': "dict(type='ResizeShortSide', short=256) for True, dict(type='Resize', size=224) for"
        ' False',
        'lazy': _SIZE['lazy'],
    },
    'CentreCrop': _SIZE,
    'ThreeCrop': _SIZE,
    'RandomCrop': {'lazy': _SIZE['lazy']},
    'RandomResizedCrop': {'area_range': 'area', 'aspect_ratio_range': 'ratio', 'lazy': _SIZE['lazy']},
    'MultiScaleCrop': {
        'input_size': 'size',
        'max_wh_scale_gap': 'max_distort',
        'num_fixed_crops': 'positions',
        'random_crop': "positions='random'",
        'lazy': _SIZE['lazy'],
    },
    'Flip': {
        'flip_ratio': 'prob',
        'direction': 'nothing: leave it out, clips are mirrored left to right',
        'flip_label_map': 'label_map',
        'lazy': _SIZE['lazy'],
    },
    'ClipDataset': {
        'ann_file': 'list_file, beside form and classes',
        'data_prefix': 'root',
        'filename_tmpl': 'frame_template',
        'num_classes': 'classes, their names',
    },
    'ClipRecognizer': {
        'backbone': f'encoder={_TSM}',
        'cls_head': _HEAD,
        'num_segments': _FRAMES,
    },
    'Encoder': _NETWORK,
    'ResNet': _NETWORK,
    'MobileNetV2': _NETWORK,
    'ClipPreprocessor': {'format_shape': 'nothing: leave it out, PackClip shapes the clip'},
}


def here_for_type(name: str) -> str | None:
    """What stands here for a type of MMAction2, with its scope (``'mmaction.AccMetric'``) or without; None of
    names that are not in the table."""
    return _TYPES.get(name.rpartition('.')[2])


def here_for_argument(owner: str, name: str) -> str | None:
    """What stands here for an argument that MMAction2's class of the name ``owner`` takes and ours does not;
    None of names that are not in the table."""
    return _ARGUMENTS.get(owner, {}).get(name)
