"""TSM on ResNet-50, whole frames."""

model = dict(
    type='ClipRecognizer',
    num_classes=174,
    dropout=0.5,
    encoder=dict(
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
)
