"""Image backbones: feature maps by stride, and where the temporal shift belongs in each."""

from .base import Backbone
from .densenet import DenseNet
from .efficientnet import EfficientNet
from .mobilenetv2 import MobileNetV2
from .mobilenetv3 import MobileNetV3
from .regnety import RegNetY
from .resnet import ResNet
from .timm_backbone import TimmBackbone
from .tiny_cnn import TinyCNN

__all__ = [
    'Backbone',
    'DenseNet',
    'EfficientNet',
    'MobileNetV2',
    'MobileNetV3',
    'RegNetY',
    'ResNet',
    'TimmBackbone',
    'TinyCNN',
]
