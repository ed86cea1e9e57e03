"""Policies: what chooses the centres."""

from .ada_focus import DeformablePolicy, FramePolicy, StackedMapPolicy, frames_at_quantiles
from .base import (
    Choice,
    DifferentiablePolicy,
    Geometry,
    LooksTold,
    Observation,
    Policy,
    Scope,
    StochasticPolicy,
    ValuePolicy,
    ValueRollout,
    cell_centres,
)
from .fixed import CentrePolicy, RandomPolicy
from .recurrent_gaussian import RecurrentGaussianPolicy
from .top_k import TopKPolicy
from .value_map import ValueMapPolicy

__all__ = [
    'CentrePolicy',
    'Choice',
    'DeformablePolicy',
    'DifferentiablePolicy',
    'FramePolicy',
    'Geometry',
    'LooksTold',
    'Observation',
    'Policy',
    'RandomPolicy',
    'RecurrentGaussianPolicy',
    'Scope',
    'StackedMapPolicy',
    'StochasticPolicy',
    'TopKPolicy',
    'ValueMapPolicy',
    'ValuePolicy',
    'ValueRollout',
    'cell_centres',
    'frames_at_quantiles',
]
