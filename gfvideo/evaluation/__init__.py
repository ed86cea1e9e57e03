"""Accuracy after every look, and where the looks fall."""

from .exits import AnytimeMetric, BudgetMetric, ExitAccuracy, accuracy_within, area_under_curve
from .functional import (
    accuracy_standard_error,
    class_accuracies,
    confusion_matrix,
    label_ranks,
    mean_class_accuracy,
    top_k_accuracy,
)
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
from .predictions import PredictionsError, read_predictions
from .sources import (
    Difference,
    mean_standard_error,
    paired_difference,
    sources_by_pattern,
    sources_of_table,
)

__all__ = [
    'AnytimeMetric',
    'Box',
    'BudgetMetric',
    'ClipAccuracy',
    'Difference',
    'ExitAccuracy',
    'HitRates',
    'Objects',
    'PatchHits',
    'PredictionsError',
    'accuracy_standard_error',
    'accuracy_within',
    'anytime_table',
    'area_under_curve',
    'class_accuracies',
    'confusion_matrix',
    'covered_areas',
    'label_ranks',
    'mean_class_accuracy',
    'mean_standard_error',
    'paired_difference',
    'patch_hit_rate',
    'patch_hits',
    'read_objects',
    'read_predictions',
    'scale_boxes',
    'sources_by_pattern',
    'sources_of_table',
    'top_k_accuracy',
]
