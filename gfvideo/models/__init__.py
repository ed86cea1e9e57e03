"""Models: encoders, policies, classifiers, and the recognizers they make."""

from .ada_focus import AdaFocusRecognizer
from .backbones import *  # noqa: F401,F403  (registers the backbones)
from .base import Prediction, Recognizer
from .classifiers import ConcatClassifier, RecurrentClassifier
from .clip_recognizer import ClipRecognizer, resize_frames
from .encoder import Encoder, Features
from .glance_focus import GlanceFocusRecognizer
from .policies import CentrePolicy, RandomPolicy, RecurrentGaussianPolicy
from .ppo import Rollout
from .stream import Stream, StreamAnswer, StreamState
from .temporal import TemporalContext, insert_shift, temporal_context

__all__ = [
    'AdaFocusRecognizer',
    'CentrePolicy',
    'ClipRecognizer',
    'ConcatClassifier',
    'Encoder',
    'Features',
    'GlanceFocusRecognizer',
    'Prediction',
    'RandomPolicy',
    'Recognizer',
    'RecurrentClassifier',
    'RecurrentGaussianPolicy',
    'Rollout',
    'Stream',
    'StreamAnswer',
    'StreamState',
    'TemporalContext',
    'insert_shift',
    'resize_frames',
    'temporal_context',
]
