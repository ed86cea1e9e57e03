_base_ = ['../_base_/models/glance_focus_mobilenetv2.py', '../_base_/datasets/surveillance.py', '../_base_/schedules/three_stages.py',
          '../_base_/default_runtime.py']
model = dict(num_classes=2, glance=dict(frozen_stride=4), focus=dict(frozen_stride=4))
