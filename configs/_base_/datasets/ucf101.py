"""UCF101: as Kinetics-400."""

_base_ = './kinetics400.py'
_root = '{{$GFVIDEO_UCF101:data/ucf101}}'
_dataset = dict(
    root=_root,
    prepare='python data_prep/ucf101.py --videos DIR --annotations DIR --out ' + _root,
)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)
