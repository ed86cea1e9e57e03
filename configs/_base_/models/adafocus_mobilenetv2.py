"""AdaFocus V2 with MobileNetV2 twice and a small glance, whose last map has 3 x 3 cells, too coarse to aim
with; the policy reads the map at stride 16, of 6 x 6 cells."""

_backbone = dict(
    type='MobileNetV2',
    init_cfg=dict(
        type='Pretrained',
        checkpoint='{{$GFVIDEO_MOBILENETV2:https://download.pytorch.org/models/mobilenet_v2-b0353104.pth}}',
    ),
)
model = dict(
    type='AdaFocusRecognizer',
    glance=dict(type='Encoder', backbone=_backbone, shift='bidirectional', map_stride=16),
    focus=dict(type='Encoder', backbone=_backbone, shift='bidirectional'),
    policy=dict(type='StackedMapPolicy', reduced=32, hidden=(256, 128)),
    num_classes=174,
    glance_size=96,
    glance_frames=8,
    patch_size=80,
    dropout=0.2,
)
