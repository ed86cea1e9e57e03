"""WLASL: as Kinetics-400."""

_base_ = './kinetics400.py'
_root = '{{$GFVIDEO_WLASL:data/wlasl}}'
_dataset = dict(
    root=_root,
    prepare='python data_prep/wlasl.py --videos DIR --annotations DIR --out ' + _root,
)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)
