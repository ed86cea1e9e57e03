"""Policies: what chooses the centres."""

from .ada_focus import DeformablePolicy, FramePolicy, StackedMapPolicy, frames_at_quantiles
from .base import Choice, Geometry, Observation, Policy, Scope
from .fixed import CentrePolicy, RandomPolicy
from .recurrent_gaussian import RecurrentGaussianPolicy

__all__ = [
    'CentrePolicy',
    'Choice',
    'DeformablePolicy',
    'FramePolicy',
    'Geometry',
    'Observation',
    'Policy',
    'RandomPolicy',
    'RecurrentGaussianPolicy',
    'Scope',
    'StackedMapPolicy',
    'frames_at_quantiles',
]
