"""EPIC-KITCHENS-100, verbs: as Kinetics-400."""

_base_ = './kinetics400.py'
_root = '{{$GFVIDEO_EPIC_VERB:data/epic_kitchens_verb}}'
_dataset = dict(
    root=_root,
    prepare='python data_prep/epic_kitchens.py --label verb --videos DIR --annotations DIR --out ' + _root,
)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)
