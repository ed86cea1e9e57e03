"""MobileNetV2 glances and focuses. The last map of so small a glance has 3 x 3 cells or fewer, too coarse to
aim with, so the policy reads the map at stride 8 (10 x 10 cells of a glance at 80 pixels)."""

_backbone = dict(
    type='MobileNetV2',
    init_cfg=dict(
        type='Pretrained',
        checkpoint='{{$GFVIDEO_MOBILENETV2:https://download.pytorch.org/models/mobilenet_v2-b0353104.pth}}',
    ),
)
model = dict(
    type='GlanceFocusRecognizer',
    glance=dict(type='Encoder', backbone=_backbone, shift='bidirectional', map_stride=8),
    focus=dict(type='Encoder', backbone=_backbone, shift='bidirectional'),
    policy=dict(type='RecurrentGaussianPolicy', scope='frame'),
    classifier=dict(type='ConcatClassifier', dropout=0.2),
    num_classes=174,
    glance_size=80,
    patch_size=64,
    steps=2,
    dropout=0.2,
    reward='log_prob',
)
