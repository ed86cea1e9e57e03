"""As glance-focus_tiny_toy.py, but the policy is a map of what a look is worth, learned beside the encoders
from the random patches of the first stage."""

_base_ = ['./glance-focus_tiny_toy.py']
model = dict(policy=dict(_delete_=True, type='ValueMapPolicy', hidden=16))
stages = dict(random=dict(model=dict(frozen=())), policy=None, tune=dict(train_cfg=dict(max_epochs=6)))
