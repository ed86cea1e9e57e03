"""Policies: what chooses the centres."""
from .base import Choice, Geometry, Observation, Policy, Scope
from .fixed import CentrePolicy, RandomPolicy
from .recurrent_gaussian import RecurrentGaussianPolicy

__all__ = ['CentrePolicy', 'Choice', 'Geometry', 'Observation', 'Policy', 'RandomPolicy', 'RecurrentGaussianPolicy', 'Scope']
