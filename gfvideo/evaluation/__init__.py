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

__all__ = [
    'AnytimeMetric',
    'Box',
    'BudgetMetric',
    'ClipAccuracy',
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
    'patch_hit_rate',
    'patch_hits',
    'read_objects',
    'read_predictions',
    'scale_boxes',
    'top_k_accuracy',
]
