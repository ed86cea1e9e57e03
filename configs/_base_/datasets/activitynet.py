"""ActivityNet-1.3, whole videos with all classes that they show: 16 frames, as AR-Net and AdaFocus read it;
else as Kinetics-400. Their score is the mean average precision over the softmax."""

_base_ = './kinetics400.py'
_root = '{{$GFVIDEO_ACTIVITYNET:data/activitynet}}'
_dataset = dict(
    root=_root,
    prepare='python data_prep/activitynet.py --videos DIR --annotations DIR --out ' + _root,
)
num_frames = 16
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)
val_evaluator = test_evaluator = dict(_delete_=True, type='MeanAveragePrecision', scores='softmax')
