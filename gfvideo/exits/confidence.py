"""How sure a prediction is, as a number in [0, 1], and the temperature that makes it honest; and scores that
read more of a look than its prediction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    'CRITERIA',
    'STATE_CRITERIA',
    'Criterion',
    'StateCriterion',
    'check_numbers',
    'confidence',
    'fit_temperature',
    'known_criterion',
    'register_criterion',
    'state_score',
]


def _max_prob(log_probs: Tensor) -> Tensor:
    return log_probs.amax(-1).exp()


def _entropy(log_probs: Tensor) -> Tensor:
    classes = log_probs.shape[-1]
    if classes == 1:
        return log_probs[..., 0].exp()
    # 0 * -inf would be nan
    entropy = -(log_probs.exp() * log_probs.clamp_min(torch.finfo(log_probs.dtype).min)).sum(-1)
    return 1 - entropy / math.log(classes)


def _margin(log_probs: Tensor) -> Tensor:
    if log_probs.shape[-1] == 1:
        return log_probs[..., 0].exp()
    best, second = log_probs.topk(2, dim=-1).values.exp().unbind(-1)
    return best - second


Criterion = Callable[[Tensor], Tensor]
"""Log-probabilities ``(..., C)``, normalised -> how sure the prediction is, ``(...)`` in [0, 1]."""

CRITERIA: dict[str, Criterion] = dict(max_prob=_max_prob, entropy=_entropy, margin=_margin)


def _worth(state: Any) -> Tensor:
    """What the policy expects of the next look, mean over the frames, ``(B,)``; 0 after the last look."""
    if state is None or (state.promise is None and state.step == 0):
        raise ValueError(
            "criterion='value' asks what the policy promises of the next look, and nothing says so here; it"
            " needs a policy that values looks (ValueMapPolicy) with test_centres='mean', and the looks"
            ' themselves, not stored logits; choose max_prob, entropy or margin'
        )
    if state.promise is None:
        return state.logits.new_zeros(len(state.logits)).double()
    return state.promise.double().mean(1).clamp(0, 1)


def _value(state: Any) -> Tensor:
    return 1 - _worth(state)


def _inverted_value(state: Any) -> Tensor:
    return _worth(state)


StateCriterion = Callable[[Any], Tensor]
"""What a look left (:class:`~gfvideo.structures.LookState`) -> how little is lost by stopping, ``(B,)`` in
[0, 1]."""

STATE_CRITERIA: dict[str, StateCriterion] = dict(value=_value, inverted_value=_inverted_value)


def register_criterion(name: str, reads: Literal['logits', 'state'] = 'logits') -> Callable[[Any], Any]:
    """Make a function a criterion that ``tools/calibrate.py --criterion`` knows.

    Args:
        name: new.
        reads: 'logits' for a :data:`Criterion`, which :func:`confidence` knows too; 'state' for a
            :data:`StateCriterion`.

    Raises:
        ValueError: if there is such a criterion, or it reads something else.
    """
    if name in CRITERIA or name in STATE_CRITERIA:
        raise ValueError(f'there is a criterion {name!r} already; choose another name')
    if reads not in ('logits', 'state'):
        raise ValueError(f"reads={reads!r} is unknown; a criterion reads 'logits' or 'state'")

    def register(function: Any) -> Any:
        (CRITERIA if reads == 'logits' else STATE_CRITERIA)[name] = function
        return function

    return register


def known_criterion(name: str) -> str:
    """``name`` if it is that of a criterion.

    Raises:
        ValueError: if it is not.
    """
    if name not in CRITERIA and name not in STATE_CRITERIA:
        names = ', '.join(map(repr, (*CRITERIA, *STATE_CRITERIA)))
        raise ValueError(f'criterion={name!r} is unknown; choose {names}')
    return name


def state_score(state: Any, criterion: str) -> Tensor:
    """What a criterion that reads more than the prediction makes of a look.

    Args:
        state: what the look left, :class:`~gfvideo.structures.LookState`.
        criterion: 'value', 1 - the gain in the probability of the true class that the policy expects of the
            next look, mean over the frames: stop when no place promises more than it costs; 'inverted_value',
            its opposite, a control (AdaptiveNN, Nature Machine Intelligence 2025, Ext. Data Fig. 4); or one
            of :func:`register_criterion`.

    Returns:
        ``(B,)`` in [0, 1], higher where less is lost by stopping.

    Raises:
        ValueError: if the look does not say what the criterion reads.
    """
    return STATE_CRITERIA[criterion](state)


def confidence(logits: Tensor, criterion: str = 'max_prob', temperature: float = 1.0) -> Tensor:
    """How sure a prediction is.

    Args:
        logits: ``(..., C)``.
        criterion: 'max_prob', the largest softmax probability (MSDNet, GFNet); 'entropy', 1 - H / log C;
            'margin', the largest probability minus the second largest; or one of
            :func:`register_criterion`.
        temperature: the logits are divided by it first, above 0.

    Returns:
        ``(...)`` in [0, 1], float64 where the device has it: in float32 many a sure answer would be exactly
        1, and those cannot be ordered.

    Raises:
        ValueError: on a criterion that is unknown or reads more than logits, a temperature not above 0, or
            logits that are not numbers. On a GPU, where a look at them would make the host wait, those give
            nan, which reaches no threshold; the runtime tells once all looks are taken.
    """
    known_criterion(criterion)
    if criterion in STATE_CRITERIA:
        raise ValueError(
            f'criterion={criterion!r} reads what a look left, not logits; use state_score, or choose '
            + ', '.join(map(repr, CRITERIA))
        )
    if not temperature > 0:
        raise ValueError(f'temperature={temperature} must be above 0')
    if logits.device.type != 'mps':
        logits = logits.double()
    sure = CRITERIA[criterion]((logits / temperature).log_softmax(-1)).clamp(0, 1)
    if sure.device.type == 'cpu':
        check_numbers(sure, logits.shape)
    return sure


def check_numbers(sure: Tensor, shape: Sequence[int]) -> None:
    """Refuse scores ``(...)`` of logits of ``shape`` ``(..., C)`` that are nan; the host waits for them.

    Raises:
        ValueError: it names the first.
    """
    # one test for the whole batch: nan survives every step of a score
    if sure.isnan().any():
        bad = sure.isnan().nonzero()[0].tolist()
        raise ValueError(
            f'the logits at {bad} of {tuple(shape)} are not numbers (nan or inf), so nothing can be'
            ' said of how sure they are; the network has diverged'
        )


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature with the least cross-entropy on held-out predictions (Guo et al., ICML 2017, Sec. 4.2).

    The cross-entropy is convex in the inverse temperature; its slope is followed to zero by halving.

    Args:
        logits: ``(N, C)``.
        labels: ``(N,)`` in [0, C).

    Returns:
        A temperature in [0.05, 20]; one end of it where the data asks for more (every prediction right, say).

    Raises:
        ValueError: without predictions, or if logits are not numbers.
    """
    if not len(logits) or labels.shape != logits.shape[:1]:
        raise ValueError(
            f'logits {tuple(logits.shape)} and labels {tuple(labels.shape)} must be (N, C) and (N,), N at'
            ' least 1'
        )
    logits = logits.detach().double()
    if not logits.isfinite().all():
        raise ValueError('some logits are not numbers (nan or inf): the network has diverged')
    logits = logits - logits.amax(1, keepdim=True)  # no softmax changes; less rounding
    own = logits.gather(1, labels[:, None]).squeeze(1)  # (N,)

    def slope(inverse: float) -> float:
        """Derivative of the mean cross-entropy by the inverse temperature."""
        return ((F.softmax(logits * inverse, -1) * logits).sum(1) - own).mean().item()

    low, high = 1 / 20, 20.0
    if slope(low) >= 0:
        return 1 / low
    if slope(high) <= 0:
        return 1 / high
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / math.sqrt(low * high)
