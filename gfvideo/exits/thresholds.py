"""Thresholds for a budget or an accuracy: the geometric family of MSDNet and GFNet, and a direct search that
is never below it.

Everything is fitted on an :class:`~gfvideo.exits.replay.ExitTable` of held-out samples. A threshold lies half
way between two confidences that occurred, so that rounding in a batch of another size seldom moves a sample
across it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .replay import ExitTable, replay

__all__ = ['Frontier', 'GEOMETRIC_RATIOS', 'direct_search', 'geometric_fractions', 'geometric_thresholds']

GEOMETRIC_RATIOS = tuple(p / 20 for p in range(1, 40))
"""The q of the family as GFNet evaluates it."""


def geometric_fractions(ratio: float, exits: int) -> Tensor:
    """Shares of all samples that leave at each exit, q_k = q^k / sum of q^j (MSDNet, Huang et al., ICLR 2018,
    Sec. 4.2), ``(K,)``.

    Raises:
        ValueError: if the ratio is not above 0 or there is no exit.
    """
    if not ratio > 0 or exits < 1:
        raise ValueError(f'ratio={ratio} must be above 0 and exits={exits} at least 1')
    powers = ratio ** torch.arange(exits, dtype=torch.float64)
    return powers / powers.sum()


def geometric_thresholds(confidence: Tensor, fractions: Sequence[float] | Tensor) -> Tensor:
    """Thresholds at which about the asked shares leave; of equal confidences all leave or none, so never more
    than asked.

    Args:
        confidence: ``(N, K)``, -inf where a sample does not come by.
        fractions: ``(K,)`` shares of the N samples, summing to 1; the last is what remains.

    Returns:
        ``(K-1,)``, inf for exits that are never taken.

    Raises:
        ValueError: if the fractions are no shares of the exits.
    """
    fractions = torch.as_tensor(fractions, dtype=torch.float64)
    N, K = confidence.shape
    if fractions.shape != (K,) or (fractions < 0).any() or abs(fractions.sum().item() - 1) > 1e-6:
        raise ValueError(f'fractions {fractions.tolist()} must be {K} shares that sum to 1')
    if confidence.isnan().any():
        raise ValueError('a confidence is not a number (nan); the network has diverged')
    confidence = confidence.double()
    wanted = (fractions.cumsum(0) * N).round().long().tolist()  # samples gone after each exit
    inside = confidence.new_ones(N, dtype=torch.bool)
    thresholds = confidence.new_full((K - 1,), torch.inf)
    gone = 0
    for k in range(K - 1):
        scores = confidence[inside & (confidence[:, k] > -torch.inf), k].sort(descending=True).values
        out = min(wanted[k] - gone, len(scores))
        while 0 < out < len(scores) and scores[out - 1] == scores[out]:  # do not split equal ones
            out = int((scores > scores[out]).sum())
        if out > 0:
            thresholds[k] = _between(scores[out - 1], scores[out]) if out < len(scores) else 0.0
            inside &= ~(confidence[:, k] >= thresholds[k])
            gone += out
    return thresholds


def _between(high: Tensor, low: Tensor) -> Tensor:
    """Half way, but above ``low`` even where there is no number between."""
    middle = (high + low) / 2
    return torch.where(middle > low, middle, high)


class Frontier(NamedTuple):
    """Settings on the Pareto frontier of cost and accuracy, cheapest first.

    Attributes:
        thresholds: ``(P, K-1)``.
        cost: ``(P,)`` mean cost of a sample, rising.
        accuracy: ``(P,)`` in [0, 1], rising where nothing else was searched for.
        worth: ``(P,)`` mean of what was searched for, where that was not the accuracy: of each setting this
            or the accuracy is above that of all cheaper ones; else None.
    """

    thresholds: Tensor
    cost: Tensor
    accuracy: Tensor
    worth: Tensor | None = None

    def within(self, budget: float) -> int:
        """The best setting that costs at most ``budget`` a sample.

        Raises:
            ValueError: if even the cheapest costs more.
        """
        affordable = int((self.cost <= budget + 1e-9 * abs(budget)).sum())
        if not affordable:
            raise ValueError(f'no setting costs {budget:g} or less; the cheapest costs {self.cost[0]:.4g}')
        return affordable - 1 if self.worth is None else int(self.worth[:affordable].argmax())

    def reaching(self, accuracy: float) -> int:
        """The cheapest setting with at least ``accuracy``, a fraction.

        Raises:
            ValueError: if even the best has less.
        """
        enough = (self.accuracy >= accuracy - 1e-12).nonzero()
        if not len(enough):
            raise ValueError(
                f'no setting reaches an accuracy of {accuracy:.4f}; the best has {self.accuracy[-1]:.4f}'
            )
        return int(enough[0])


def direct_search(
    table: ExitTable, levels: int = 48, sweeps: int = 4, worth: Tensor | None = None
) -> Frontier:
    """Thresholds of high accuracy, or another worth, for every budget, on small tables nearly always the
    highest there is.

    Three families compete, and the best of each cost stays: the geometric one; for a range of prices, the
    thresholds that maximise worth minus price times cost; and for a range of budgets, the thresholds of
    highest worth within it, climbing from the best found before. The latter two go exit by exit, each time
    trying every threshold between two samples with the others held, all prices (budgets) at a time. The
    budgets tried depend on the table alone, so a larger budget never gets less worth, and the geometric
    family is never above the result.

    Args:
        table: held-out samples.
        levels: how many prices, and how many budgets, are tried.
        sweeps: rounds over all exits.
        worth: ``(N, K)`` what an answer at each exit is worth, 0 or more, to be searched for in place of
            right answers; settings that are more accurate than all cheaper ones stay beside its frontier.
            None: 1 if it is right.

    Returns:
        The :class:`Frontier`; its first setting is the cheapest of all.

    Raises:
        ValueError: if ``worth`` has another shape than the table, or is not finite.
    """
    if worth is None:
        worth = table.correct
    if worth.shape != table.correct.shape or not worth.isfinite().all():
        raise ValueError(
            f'worth {tuple(worth.shape)} must be {tuple(table.correct.shape)} finite numbers, one for each'
            ' exit of the table'
        )
    N, K = table.confidence.shape
    device = table.confidence.device
    candidates = [geometric_thresholds(table.confidence, geometric_fractions(q, K)) for q in GEOMETRIC_RATIOS]
    never = torch.full((K - 1,), torch.inf, dtype=torch.float64, device=device)
    candidates += [never, torch.zeros_like(never)]
    if K > 1:
        climber = _Climber(table, worth)
        low, high = table.costs[:, 0].mean().item(), table.costs[:, -1].mean().item()
        span = max(high - low, 1e-12)
        # a price times the span is the share of answers that the dearest exit must save to be worth its cost
        prices = torch.logspace(math.log10(0.5 / N), 1.5, levels, dtype=torch.float64, device=device) / span
        candidates += list(climber.at_prices(prices, sweeps))
        budgets = torch.linspace(low, high, levels, dtype=torch.float64, device=device)
        found = _frontier_of(table, candidates, worth)
        start = torch.stack(
            [found.thresholds[found.within(max(budget, found.cost[0].item()))] for budget in budgets.tolist()]
        )
        for cheaper in (0.5, 1e-6):  # first leaving room for another exit to be worth more, then to the top
            start = climber.within_budgets(budgets, start, max(1, sweeps // 2), cheaper)
            candidates += list(start)
    return _frontier_of(table, candidates, worth)


def _frontier_of(table: ExitTable, candidates: Sequence[Tensor], worth: Tensor) -> Frontier:
    thresholds = torch.stack(list(candidates))
    # unique() refuses an empty row
    thresholds = thresholds.unique(dim=0) if thresholds.shape[1] else thresholds[:1]
    outcomes = [replay(table, one) for one in thresholds]
    cost = torch.tensor([outcome.cost for outcome in outcomes], dtype=torch.float64)
    accuracy = torch.tensor([outcome.accuracy for outcome in outcomes], dtype=torch.float64)
    if worth is table.correct:
        kept = undominated(cost.tolist(), accuracy.tolist())
        return Frontier(thresholds[kept], cost[kept], accuracy[kept])
    worths = torch.tensor(
        [worth.gather(1, outcome.positions[:, None]).double().mean().item() for outcome in outcomes],
        dtype=torch.float64,
    )
    kept = undominated(cost.tolist(), worths.tolist(), accuracy.tolist())
    return Frontier(thresholds[kept], cost[kept], accuracy[kept], worths[kept])


def undominated(costs: Sequence[float], *merits: Sequence[float]) -> list[int]:
    """The settings, cheapest first, of which some merit is above that of all cheaper ones; of equal costs the
    best by the first merit."""
    kept: list[int] = []
    best = [-math.inf] * len(merits)
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], *(-merit[i] for merit in merits))):
        if kept and costs[i] <= costs[kept[-1]]:
            continue
        if any(merit[i] > most + 1e-12 for merit, most in zip(merits, best)):
            kept.append(i)
            best = [max(merit[i], most) for merit, most in zip(merits, best)]
    return kept


class _Climber:
    """Moves one threshold at a time, for L settings at once; shapes are (L, N) where not said."""

    def __init__(self, table: ExitTable, worth: Tensor | None = None):
        self.worth, self.costs = (table.correct if worth is None else worth).double(), table.costs
        self.confidence = table.confidence
        ordered = table.confidence.sort(dim=0, descending=True, stable=True)
        self.order = ordered.indices.T.contiguous()  # (K, N)
        scores = ordered.values.T  # (K, N)
        after = torch.cat([scores[:, 1:], scores.new_full((len(scores), 1), -torch.inf)], dim=1)
        self.may_end = (scores > after) & (scores > -torch.inf)  # between equal ones no threshold fits
        # the threshold at which the first m + 1 leave; below the last sample that comes by, everyone
        self.threshold = torch.where(
            after == -torch.inf, torch.zeros_like(after), _between(scores, after.clamp_min(0))
        )

    def _sure(self, thresholds: Tensor, k: int) -> Tensor:
        return self.confidence[:, k] >= thresholds[:, k, None]

    def _reach(self, thresholds: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Which samples come as far as each exit, and the summed cost ``(L,)`` of those that left before
        it."""
        inside = torch.ones(len(thresholds), len(self.confidence), dtype=torch.bool, device=thresholds.device)
        reached, gone = [inside], [thresholds.new_zeros(len(thresholds))]
        for k in range(thresholds.shape[1] - 1):
            leaves = inside & self._sure(thresholds, k)
            gone.append(gone[-1] + (self.costs[:, k] * leaves).sum(1))
            inside = inside & ~leaves
            reached.append(inside)
        return reached, gone

    def _in_order(self, gain: Tensor, k: int) -> Tensor:
        """Sum of ``gain`` over those that leave when the m + 1 surest at exit k may, for every m."""
        return gain[:, self.order[k]].cumsum(1)

    def at_prices(self, prices: Tensor, sweeps: int) -> Tensor:
        """Thresholds ``(L, K-1)`` that maximise worth - price * cost, one row a price."""
        L, K = len(prices), self.confidence.shape[1]
        thresholds = torch.full((L, K - 1), torch.inf, dtype=torch.float64, device=prices.device)
        for _ in range(sweeps):
            before = thresholds.clone()
            reached, _ = self._reach(thresholds)
            later = self.worth[:, -1] - prices[:, None] * self.costs[:, -1]
            for k in reversed(range(K - 1)):
                here = self.worth[:, k] - prices[:, None] * self.costs[:, k]
                total = self._in_order((here - later) * reached[k], k).masked_fill_(
                    ~self.may_end[k], -torch.inf
                )
                best, place = total.max(1)
                thresholds[:, k] = torch.where(best > 1e-12, self.threshold[k][place], torch.inf)
                later = torch.where(self._sure(thresholds, k), here, later)
            if torch.equal(before, thresholds):
                break
        return thresholds

    def within_budgets(self, budgets: Tensor, start: Tensor, sweeps: int, cheaper: float = 1e-6) -> Tensor:
        """Thresholds ``(L, K-1)`` of highest worth within each budget, from ``start``, which should be
        within them. Letting one more sample leave is itself worth ``cheaper / N``, so that of equal ones the
        cheapest is taken."""
        N, K = self.confidence.shape
        thresholds, room = start.clone(), budgets * N * (1 + 1e-12)
        saved = torch.arange(N, device=start.device, dtype=torch.float64) * (cheaper / N)
        for _ in range(sweeps):
            before = thresholds.clone()
            reached, gone = self._reach(thresholds)
            worth_later, cost_later = (
                self.worth[:, -1].expand(len(start), N),
                self.costs[:, -1].expand(len(start), N),
            )
            for k in reversed(range(K - 1)):
                gained = self._in_order((self.worth[:, k] - worth_later) * reached[k], k)
                cost = self._in_order((self.costs[:, k] - cost_later) * reached[k], k)
                waiting = gone[k] + (cost_later * reached[k]).sum(1)  # (L,) cost if none left here
                fits = (waiting[:, None] + cost <= room[:, None]) & self.may_end[k]
                best, place = (gained + saved).masked_fill_(~fits, -torch.inf).max(1)
                moved = torch.where((waiting <= room) & (best < 0), torch.inf, self.threshold[k][place])
                thresholds[:, k] = torch.where(
                    (waiting > room) & (best == -torch.inf), thresholds[:, k], moved
                )
                sure = self._sure(thresholds, k)
                worth_later = torch.where(sure, self.worth[:, k], worth_later)
                cost_later = torch.where(sure, self.costs[:, k], cost_later)
            if torch.equal(before, thresholds):
                break
        return thresholds
