"""AdaFocus V2 on TSM: MobileNetV2 glances at 8 frames at 224 pixels, its last maps side by side choose one
window for the clip, and ResNet-50 focuses there on every frame."""

model = dict(
    type='AdaFocusRecognizer',
    glance=dict(
        type='Encoder',
        shift='bidirectional',
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
    policy=dict(type='StackedMapPolicy'),
    num_classes=174,
    glance_size=224,
    glance_frames=8,
    patch_size=128,
    dropout=0.5,
)
