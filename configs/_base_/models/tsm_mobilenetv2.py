"""TSM on MobileNetV2, whole frames."""

model = dict(
    type='ClipRecognizer',
    num_classes=174,
    input_size=224,
    dropout=0.5,
    encoder=dict(
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
)
