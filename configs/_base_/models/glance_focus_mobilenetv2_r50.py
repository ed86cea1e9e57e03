"""MobileNetV2 glances at the whole frame at 224 pixels, ResNet-50 focuses, as in AdaFocus. The policy reads
the glance's map at stride 16, whose 14 x 14 cells are 16 pixels wide."""

model = dict(
    type='GlanceFocusRecognizer',
    glance=dict(
        type='Encoder',
        shift='bidirectional',
        map_stride=16,
        backbone=dict(
            type='MobileNetV2',
            init_cfg=dict(
                type='Pretrained',
                checkpoint=(
                    '{{$GFVIDEO_MOBILENETV2:https://download.pytorch.org/models/mobilenet_v2-b0353104.pth}}'
                ),
            ),
        ),
    ),
    focus=dict(
        type='Encoder',
        shift='bidirectional',
        backbone=dict(
            type='ResNet',
            depth=50,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='{{$GFVIDEO_RESNET50:https://download.pytorch.org/models/resnet50-11ad3fa6.pth}}',
            ),
        ),
    ),
    policy=dict(type='RecurrentGaussianPolicy', scope='frame'),
    classifier=dict(type='RecurrentClassifier', dropout=0.5),
    num_classes=174,
    glance_size=224,
    patch_size=128,
    steps=1,
    dropout=0.5,
    reward='log_prob',
)
