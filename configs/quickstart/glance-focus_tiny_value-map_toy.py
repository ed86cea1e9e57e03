"""As glance-focus_tiny_toy.py, but the policy is a map of what a look is worth, learned beside the encoders:
from random patches first, then from patches of which half are where it promises most."""

_base_ = ['./glance-focus_tiny_toy.py']
model = dict(policy=dict(_delete_=True, type='ValueMapPolicy'))
stages = dict(
    random=dict(model=dict(frozen=()), train_cfg=dict(max_epochs=3)),
    policy=None,
    tune=dict(
        model=dict(train_centres='mixed', frozen=()),
        train_cfg=dict(max_epochs=8),
        optim_wrapper=dict(optimizer=dict(lr=2e-3)),
    ),
)
