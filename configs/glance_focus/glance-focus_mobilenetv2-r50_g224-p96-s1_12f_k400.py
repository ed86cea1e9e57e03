_base_ = [
    '../_base_/models/glance_focus_mobilenetv2_r50.py',
    '../_base_/datasets/kinetics400.py',
    '../_base_/schedules/three_stages_sgd.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=400, patch_size=96)
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
_frames = dict(type='SampleFrames', frames=12, strategy='segment')
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=[_frames, *_base_.train_pipeline[1:]]))
val_dataloader = dict(dataset=dict(pipeline=[dict(_frames, test_mode=True), *_base_.test_pipeline[1:]]))
test_dataloader = val_dataloader
