"""HMDB51: as Kinetics-400."""

_base_ = './kinetics400.py'
_root = '{{$GFVIDEO_HMDB51:data/hmdb51}}'
_dataset = dict(
    root=_root,
    prepare='python data_prep/hmdb51.py --videos DIR --annotations DIR --out ' + _root,
)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)
