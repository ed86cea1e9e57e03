"""FCVID: as ActivityNet."""

_base_ = './activitynet.py'
_root = '{{$GFVIDEO_FCVID:data/fcvid}}'
_dataset = dict(
    root=_root,
    prepare='python data_prep/fcvid.py --videos DIR --annotations DIR --out ' + _root,
)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)
