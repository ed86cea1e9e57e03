"""Kinetics-700-2020: as Kinetics-400."""

_base_ = './kinetics400.py'
_root = '{{$GFVIDEO_K700_2020:data/kinetics700_2020}}'
_dataset = dict(
    root=_root,
    prepare='python data_prep/kinetics.py --version 700-2020 --videos DIR --annotations DIR --out ' + _root,
)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)
