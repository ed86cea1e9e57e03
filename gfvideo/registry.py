"""The registries of gfvideo: children of mmengine's, scope ``gfvideo``, which import their rooms on first
use.

``MODELS.build(dict(type='GlanceFocusRecognizer', ...))`` works from any folder and without an import
beforehand.
"""

from mmengine import registry as root

__all__ = [
    'DATASETS',
    'EVALUATORS',
    'HOOKS',
    'HUB',
    'LOOPS',
    'METRICS',
    'MODELS',
    'OPTIMIZERS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'PARAM_SCHEDULERS',
    'TRANSFORMS',
    'VISUALIZERS',
]


def _child(name: str, parent: root.Registry, *rooms: str) -> root.Registry:
    return root.Registry(name, parent=parent, scope='gfvideo', locations=list(rooms))


MODELS = _child('model', root.MODELS, 'gfvideo.data.preprocessor', 'gfvideo.models')
DATASETS = _child('dataset', root.DATASETS, 'gfvideo.data.dataset')
TRANSFORMS = _child('transform', root.TRANSFORMS, 'gfvideo.data.transforms')
METRICS = _child('metric', root.METRICS, 'gfvideo.evaluation')
EVALUATORS = _child('evaluator', root.EVALUATOR, 'gfvideo.evaluation')
HOOKS = _child('hook', root.HOOKS, 'gfvideo.engine')
LOOPS = _child('loop', root.LOOPS, 'gfvideo.engine')
OPTIM_WRAPPERS = _child('optim_wrapper', root.OPTIM_WRAPPERS, 'gfvideo.engine')
VISUALIZERS = _child('visualizer', root.VISUALIZERS, 'gfvideo.visualization')
# nothing of ours is in these yet; without them mmengine warns that scope 'gfvideo' is not in their trees each
# time it builds from its own
OPTIMIZERS = _child('optimizer', root.OPTIMIZERS, 'gfvideo.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', root.OPTIM_WRAPPER_CONSTRUCTORS, 'gfvideo.engine'
)
PARAM_SCHEDULERS = _child('parameter scheduler', root.PARAM_SCHEDULERS, 'gfvideo.engine')
DATA_SAMPLERS = _child('data sampler', root.DATA_SAMPLERS, 'gfvideo.data')
VISBACKENDS = _child('vis_backend', root.VISBACKENDS, 'gfvideo.visualization')
LOG_PROCESSORS = _child('log_processor', root.LOG_PROCESSORS, 'gfvideo.engine')
MODEL_WRAPPERS = _child('model_wrapper', root.MODEL_WRAPPERS, 'gfvideo.engine')
FUNCTIONS = _child('function', root.FUNCTIONS, 'gfvideo.data')
HUB = root.Registry('hub', scope='gfvideo', locations=['gfvideo.hub'])
"""Functions of :mod:`gfvideo.hub` that are methods of recognizers; no config names them."""
