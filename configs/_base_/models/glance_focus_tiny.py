"""Two tiny encoders that learn from scratch; for the demo and for trying things out."""

_backbone = dict(type='TinyCNN', width=16)
model = dict(
    type='GlanceFocusRecognizer',
    # the policy reads the glance at stride 4, where 32 pixels are still 8 x 8 cells
    glance=dict(type='Encoder', backbone=_backbone, shift='bidirectional', fold_div=4, map_stride=4),
    focus=dict(type='Encoder', backbone=_backbone, shift='bidirectional', fold_div=4),
    policy=dict(type='RecurrentGaussianPolicy', scope='frame', hidden=64, reduced=16),
    classifier=dict(type='ConcatClassifier'),
    num_classes=6,
    glance_size=32,
    patch_size=24,
    steps=2,
    reward='log_prob',
)
