"""AdaFocus V2 with two tiny encoders that learn from scratch; for trying things out."""

_backbone = dict(type='TinyCNN', width=16)
model = dict(
    type='AdaFocusRecognizer',
    # the policy reads the glance at stride 4, where 32 pixels are still 8 x 8 cells
    glance=dict(type='Encoder', backbone=_backbone, shift='bidirectional', fold_div=4, map_stride=4),
    focus=dict(type='Encoder', backbone=_backbone, shift='bidirectional', fold_div=4),
    policy=dict(type='StackedMapPolicy', reduced=16, hidden=(64, 32)),
    num_classes=6,
    glance_size=32,
    glance_frames=8,
    patch_size=24,
    dropout=0.0,
)
