"""One HTML file that shows a run, or several side by side: results, costs, training, exits, classes,
clips."""

from .build import Parts, gather, write_report
from .costs import CostCurve, Ratio, ratio_to
from .folder import RunFolder, StageLog, read_run
from .gallery import Gallery, Trained, evenly, strip_of

__all__ = [
    'CostCurve',
    'Gallery',
    'Parts',
    'Ratio',
    'RunFolder',
    'StageLog',
    'Trained',
    'evenly',
    'gather',
    'ratio_to',
    'read_run',
    'strip_of',
    'write_report',
]
