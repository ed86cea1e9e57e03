"""Accuracy after every look, and where the looks fall."""
from .functional import accuracy_standard_error, class_accuracies, confusion_matrix, label_ranks, mean_class_accuracy, top_k_accuracy
from .metrics import ClipAccuracy, anytime_table
from .objects import Box, Objects, patch_hit_rate, patch_hits, read_objects, scale_boxes

__all__ = ['Box', 'ClipAccuracy', 'Objects', 'accuracy_standard_error', 'anytime_table', 'class_accuracies', 'confusion_matrix',
           'label_ranks', 'mean_class_accuracy', 'patch_hit_rate', 'patch_hits', 'read_objects', 'scale_boxes', 'top_k_accuracy']
