"""One calibrated instance of each architecture, for all tests that only run it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import nn

from gfvideo.registry import MODELS


def calibrate(model: nn.Module, size: int = 64) -> nn.Module:
    """Statistics of its own for every normalisation, and scales and offsets that are not 1 and 0; evaluation
    mode."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.7, 1.3), nn.init.normal_(norm.bias, std=0.2)
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(6, 3, size, size))
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


@cache
def _calibrated(config: tuple) -> nn.Module:
    torch.manual_seed(0)
    return calibrate(MODELS.build(dict(config)))


@pytest.fixture(scope='session')
def built() -> Callable[[dict], nn.Module]:
    """A function of a backbone's config: the calibrated backbone, which a test must not change."""
    return lambda config: _calibrated(tuple(config.items()))


@pytest.fixture
def fresh(built) -> Callable[[dict], nn.Module]:
    """The same, a copy for the test alone."""
    return lambda config: copy.deepcopy(built(config))
