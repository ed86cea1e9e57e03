"""Image backbones: feature maps by stride, and where the temporal shift belongs in each."""
from .mobilenetv2 import MobileNetV2
from .resnet import ResNet
from .tiny_cnn import TinyCNN

__all__ = ['MobileNetV2', 'ResNet', 'TinyCNN']
