"""The three stages with GFNet's rates: 0.01 for the encoders at SGD, the policy by Adam at 3e-4."""
_base_ = ['../_base_/models/glance_focus_r50.py', '../_base_/datasets/something_something_v2.py', '../_base_/schedules/sgd_50e.py',
          '../_base_/default_runtime.py']
param_scheduler = [dict(type='CosineAnnealingLR', begin=0, by_epoch=True, convert_to_iter_based=True)]
stages = [
    dict(name='random', model=dict(train_centres='random', test_centres='random', frozen=('policy',))),
    dict(name='policy',
         model=dict(frozen=('glance_encoder', 'focus_encoder', 'classifier', 'glance_head', 'focus_head')),
         train_cfg=dict(type='PolicyLoop', max_epochs=15, update_epochs=4, minibatches=4),
         optim_wrapper=dict(optimizer=dict(_delete_=True, type='Adam', lr=3e-4), clip_grad=dict(max_norm=1.0))),
    dict(name='tune', model=dict(train_centres='mean', frozen=('policy',)), train_cfg=dict(max_epochs=15),
         optim_wrapper=dict(optimizer=dict(lr=0.005)))]
