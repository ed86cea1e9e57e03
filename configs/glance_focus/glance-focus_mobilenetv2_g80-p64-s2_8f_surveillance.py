_base_ = [
    '../_base_/models/glance_focus_mobilenetv2.py',
    '../_base_/datasets/surveillance.py',
    '../_base_/schedules/three_stages.py',
    '../_base_/default_runtime.py',
]
# so few clips are soon known by heart at a glance, which leaves looks little to add: a bounded reward, each
# look credited with its own
model = dict(
    num_classes=2,
    glance=dict(frozen_stride=4),
    focus=dict(frozen_stride=4),
    reward='prob',
    ppo=dict(gamma=0.0),
)
