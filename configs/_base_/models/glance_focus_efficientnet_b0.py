"""EfficientNet-B0 glances and focuses, at 128 pixels each, four looks in all, as in GFNet. The policy reads
the glance's map at stride 8, whose 16 x 16 cells are fine enough to aim with."""

_backbone = dict(
    type='EfficientNet',
    variant='b0',
    init_cfg=dict(
        type='Pretrained',
        checkpoint='{{$GFVIDEO_EFFICIENTNET_B0:https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth}}',
    ),
)
model = dict(
    type='GlanceFocusRecognizer',
    glance=dict(type='Encoder', backbone=_backbone, shift='bidirectional', map_stride=8),
    focus=dict(type='Encoder', backbone=_backbone, shift='bidirectional'),
    policy=dict(type='RecurrentGaussianPolicy', scope='frame'),
    classifier=dict(type='ConcatClassifier', dropout=0.2),
    num_classes=174,
    glance_size=128,
    patch_size=128,
    steps=3,
    aux_weight=5.0,
    dropout=0.2,
    reward='log_prob',
)
