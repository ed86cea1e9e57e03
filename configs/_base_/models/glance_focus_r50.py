"""ResNet-50 glances and focuses, at 96 pixels each; a glance's last map has 3 x 3 cells, so the policy reads
the one at stride 8."""

_backbone = dict(
    type='ResNet',
    depth=50,
    init_cfg=dict(
        type='Pretrained',
        checkpoint='{{$GFVIDEO_RESNET50:https://download.pytorch.org/models/resnet50-11ad3fa6.pth}}',
    ),
)
model = dict(
    type='GlanceFocusRecognizer',
    glance=dict(type='Encoder', backbone=_backbone, shift='bidirectional', map_stride=8),
    focus=dict(type='Encoder', backbone=_backbone, shift='bidirectional'),
    policy=dict(type='RecurrentGaussianPolicy', scope='frame'),
    classifier=dict(type='RecurrentClassifier', dropout=0.5),
    num_classes=174,
    glance_size=96,
    patch_size=96,
    steps=2,
    dropout=0.5,
    reward='log_prob',
)
