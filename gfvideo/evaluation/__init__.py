"""Accuracy after every look, and where the looks fall."""

from .controls import (
    Answers,
    ControlMeter,
    ControlRow,
    control_rows,
    controls_table,
    over_seeds,
    right_answers,
)
from .exits import AnytimeMetric, BudgetMetric, ExitAccuracy, accuracy_within, area_under_curve
from .findable import Glances, found_share, glances_of, teach_places
from .frames import running_answers, ways_over_frames
from .functional import (
    accuracy_standard_error,
    average_precisions,
    class_accuracies,
    confusion_matrix,
    label_ranks,
    mean_class_accuracy,
    top_k_accuracy,
)
from .hit_signals import Signal, signals_of, told_apart
from .metrics import ClipAccuracy, anytime_table
from .objects import (
    Box,
    HitRates,
    Objects,
    PatchHits,
    covered_areas,
    patch_hit_rate,
    patch_hits,
    read_objects,
    scale_boxes,
)
from .oracle import oracle_centres
from .predictions import PredictionsError, read_predictions
from .several import MeanAveragePrecision
from .sources import (
    Difference,
    mean_standard_error,
    paired_difference,
    sources_by_pattern,
    sources_of_table,
)

__all__ = [
    'Answers',
    'AnytimeMetric',
    'Box',
    'BudgetMetric',
    'ClipAccuracy',
    'ControlMeter',
    'ControlRow',
    'Difference',
    'ExitAccuracy',
    'Glances',
    'HitRates',
    'MeanAveragePrecision',
    'Objects',
    'PatchHits',
    'PredictionsError',
    'Signal',
    'accuracy_standard_error',
    'accuracy_within',
    'anytime_table',
    'area_under_curve',
    'average_precisions',
    'class_accuracies',
    'confusion_matrix',
    'control_rows',
    'controls_table',
    'covered_areas',
    'found_share',
    'glances_of',
    'label_ranks',
    'mean_class_accuracy',
    'mean_standard_error',
    'oracle_centres',
    'over_seeds',
    'paired_difference',
    'patch_hit_rate',
    'patch_hits',
    'read_objects',
    'read_predictions',
    'right_answers',
    'running_answers',
    'scale_boxes',
    'signals_of',
    'sources_by_pattern',
    'sources_of_table',
    'teach_places',
    'told_apart',
    'top_k_accuracy',
    'ways_over_frames',
]
