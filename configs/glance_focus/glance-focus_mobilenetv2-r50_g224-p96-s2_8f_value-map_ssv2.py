"""A value map chooses two looks a frame, and learns in one run with the encoders. AdamW's rates are those of
small sets; the length is half that of the three stages. Nobody has trained it yet."""

_base_ = [
    '../_base_/models/glance_focus_mobilenetv2_r50.py',
    '../_base_/datasets/something_something_v2.py',
    '../_base_/schedules/joint.py',
    '../_base_/default_runtime.py',
]
model = dict(
    patch_size=96,
    steps=2,
    classifier=dict(_delete_=True, type='ConcatClassifier', dropout=0.5),
    policy=dict(_delete_=True, type='ValueMapPolicy', scope='frame', stem_depth=4, stem_norm=True),
)
train_cfg = dict(max_epochs=50, val_interval=5)
stages = dict(tune=dict(train_cfg=dict(max_epochs=15, val_interval=5)))
auto_scale_lr = dict(enable=False, base_batch_size=64)
