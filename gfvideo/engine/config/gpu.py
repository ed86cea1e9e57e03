"""What pays on a GPU, where a config leaves it open: pinned memory, and kernels chosen by trial."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch

from .check import frame_size

__all__ = ['fill_gpu']


def fill_gpu(cfg: MutableMapping[str, Any], gpu: bool | None = None) -> str:
    """Fill in, in place, what a config leaves open (is not there, or None) and a GPU is faster with.

    ``pin_memory=True`` of every loader: batches are copied to a GPU while it computes.
    ``env_cfg.cudnn_benchmark=True``: cuDNN tries its kernels once for each size and keeps the fastest, if the
    pipelines of all loaders end with frames of a size that they say and nothing asks for determinism; where
    sizes change, trying would cost more than it gains. What a config says stays.

    Args:
        cfg: the config of a stage.
        gpu: whether the run is on one; None: whether torch finds one.

    Returns:
        A line that tells what was filled in; '' if nothing was.
    """
    if not (torch.cuda.is_available() if gpu is None else gpu):
        return ''
    loaders = {
        key: value
        for key, value in cfg.items()
        if key.endswith('_dataloader') and isinstance(value, MutableMapping)
    }
    pinned = [key for key, loader in loaders.items() if loader.get('pin_memory') is None]
    for key in pinned:
        loaders[key]['pin_memory'] = True
    told = [f'pinned memory for {", ".join(pinned)}'] if pinned else []
    environment = dict(cfg.get('env_cfg') or {})
    left_open = environment.get('cudnn_benchmark') is None
    if left_open and loaders and _sizes_are_fixed(loaders) and not _deterministic(cfg):
        cfg['env_cfg'] = environment | dict(cudnn_benchmark=True)
        told.append('cuDNN chooses kernels by trial (cudnn_benchmark), as frames have one size')
    return f'for the GPU: {"; ".join(told)}' if told else ''


def _sizes_are_fixed(loaders: MutableMapping[str, Any]) -> bool:
    pipelines = [(loader.get('dataset') or {}).get('pipeline') for loader in loaders.values()]
    return all(frame_size(pipeline) is not None for pipeline in pipelines)


def _deterministic(cfg: MutableMapping[str, Any]) -> bool:
    return bool((cfg.get('randomness') or {}).get('deterministic'))
