"""The state of every random generator a training run draws from: seeded per epoch and rank, saved,
restored."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

__all__ = ['epoch_generator', 'random_state', 'restore_random_state', 'seed_everything']


def seed_everything(seed: int, epoch: int, rank: int) -> None:
    """Seed Python, numpy and torch (with its devices) for one epoch on one rank.

    The three numbers are mixed (numpy's SeedSequence), so that neighbouring epochs, ranks and seeds share no
    stream.

    Args:
        seed: of the run, from 0.
        epoch: from 0.
        rank: of this process, from 0.
    """
    python, numpy, torch_low, torch_high = (
        np.random.SeedSequence([seed, epoch, rank]).generate_state(4).tolist()
    )
    random.seed(python)
    np.random.seed(numpy)
    torch.manual_seed((torch_high & 0x7FFFFFFF) << 32 | torch_low)


def epoch_generator(seed: int, epoch: int, rank: int) -> torch.Generator:
    """A generator for the loader of one epoch on one rank; what is drawn from it is drawn from no other.

    Args:
        seed, epoch, rank: see :func:`seed_everything`.
    """
    low, high = np.random.SeedSequence([seed, epoch, rank, 1]).generate_state(2).tolist()
    return torch.Generator().manual_seed((high & 0x7FFFFFFF) << 32 | low)


def random_state() -> dict[str, Any]:
    """States of Python's, numpy's, torch's and the current CUDA device's generators, as tensors and plain
    values only."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return dict(
        python=random.getstate(),
        numpy=(kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    )


def restore_random_state(state: dict[str, Any]) -> None:
    """Put every generator back to where :func:`random_state` found it; CUDA's is left as it is where one of
    the two had no device."""
    version, internal, gauss_next = state['python']
    random.setstate((version, tuple(internal), gauss_next))
    kind, keys, position, has_gauss, gauss = state['numpy']
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state['torch'].cpu())
    if state['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())
