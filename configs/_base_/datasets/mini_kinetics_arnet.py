"""Mini-Kinetics of AR-Net and AdaFocus, 200 classes: as Kinetics-400."""

_base_ = './kinetics400.py'
_root = '{{$GFVIDEO_MINIK_ARNET:data/mini_kinetics_arnet}}'
_dataset = dict(
    root=_root,
    prepare='python data_prep/kinetics.py --version mini-arnet --videos DIR --annotations DIR --out ' + _root,
)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)
