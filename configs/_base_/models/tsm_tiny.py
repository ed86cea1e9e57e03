"""The focus encoder of glance_focus_tiny.py on whole frames at full resolution."""

model = dict(
    type='ClipRecognizer',
    num_classes=6,
    dropout=0.0,
    encoder=dict(type='Encoder', backbone=dict(type='TinyCNN', width=16), shift='bidirectional', fold_div=4),
)
