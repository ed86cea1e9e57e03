"""Diving48: as Kinetics-400."""

_base_ = './kinetics400.py'
_root = '{{$GFVIDEO_DIVING48:data/diving48}}'
_dataset = dict(
    root=_root,
    prepare='python data_prep/diving48.py --videos DIR --annotations DIR --out ' + _root,
)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)
