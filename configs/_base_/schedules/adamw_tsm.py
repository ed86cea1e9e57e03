"""As adamw.py, with TSM's rates and decays by the kind of a parameter."""

_base_ = './adamw.py'
optim_wrapper = dict(constructor='TSMOptimWrapperConstructor')
