_base_ = [
    '../../_base_/models/tsm_r50.py',
    '../../_base_/datasets/mini_kinetics_arnet.py',
    '../../_base_/schedules/sgd_50e_kinetics.py',
    '../../_base_/default_runtime.py',
]
model = dict(num_classes=200)
_frames = dict(type='SampleFrames', frames=16, strategy='segment')
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=[_frames, *_base_.train_pipeline[1:]]))
val_dataloader = dict(dataset=dict(pipeline=[dict(_frames, test_mode=True), *_base_.test_pipeline[1:]]))
test_dataloader = val_dataloader
