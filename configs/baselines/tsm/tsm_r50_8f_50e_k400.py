_base_ = ['../../_base_/models/tsm_r50.py', '../../_base_/datasets/kinetics400.py', '../../_base_/schedules/sgd_50e.py',
          '../../_base_/default_runtime.py']
model = dict(num_classes=400)
optim_wrapper = dict(optimizer=dict(lr=0.02, weight_decay=1e-4))
auto_scale_lr = dict(enable=False, base_batch_size=128)
