"""Models: encoders, policies, classifiers, and the recognizers they make."""

from .ada_focus import AdaFocusRecognizer
from .backbones import *  # noqa: F401,F403  (registers the backbones)
from .base import Prediction, Recognizer
from .classifiers import ConcatClassifier, RecurrentClassifier, SumClassifier
from .clip_recognizer import ClipRecognizer
from .encoder import Encoder, Features
from .glance_focus import GlanceFocusRecognizer
from .policies import (
    CentrePolicy,
    Choice,
    DifferentiablePolicy,
    Geometry,
    LooksTold,
    Observation,
    Policy,
    RandomPolicy,
    RecurrentGaussianPolicy,
    StochasticPolicy,
    TopKPolicy,
    ValueMapPolicy,
    ValuePolicy,
    ValueRollout,
    cell_centres,
)
from .ppo import REWARDS, Rollout, register_reward
from .stream import Stream, StreamAnswer, StreamState
from .temporal import TemporalContext, insert_shift, temporal_context

__all__ = [
    'AdaFocusRecognizer',
    'CentrePolicy',
    'Choice',
    'ClipRecognizer',
    'ConcatClassifier',
    'DifferentiablePolicy',
    'Encoder',
    'Features',
    'Geometry',
    'GlanceFocusRecognizer',
    'LooksTold',
    'Observation',
    'Policy',
    'Prediction',
    'REWARDS',
    'RandomPolicy',
    'Recognizer',
    'RecurrentClassifier',
    'RecurrentGaussianPolicy',
    'Rollout',
    'StochasticPolicy',
    'Stream',
    'StreamAnswer',
    'StreamState',
    'SumClassifier',
    'TemporalContext',
    'TopKPolicy',
    'ValueMapPolicy',
    'ValuePolicy',
    'ValueRollout',
    'cell_centres',
    'insert_shift',
    'register_reward',
    'temporal_context',
]
