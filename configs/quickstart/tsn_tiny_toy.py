_base_ = './tsm_tiny_toy.py'
model = dict(encoder=dict(shift=None))
