"""Accuracy against cost, as users of a budget read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

__all__ = ['Curve', 'draw_curves']

COLOURS = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#D55E00', '#56B4E9', '#000000')
"""Okabe and Ito's, told apart by colour-blind readers; markers tell the methods apart without any colour."""
MARKERS = 'osD^vPX*'


@dataclass(frozen=True)
class Curve:
    """Accuracy of one method at one or several costs.

    Args:
        gmacs: GMACs (1e9 multiply-adds) per clip of each point, or another cost if ``draw_curves`` is told
            its name.
        accuracies: fractions in [0, 1], one a point.
        standard_errors: fractions, one a point, drawn as bars; None for none.
    """

    gmacs: Sequence[float]
    accuracies: Sequence[float]
    standard_errors: Sequence[float] | None = None

    def __post_init__(self) -> None:
        counts = {
            len(self.gmacs),
            len(self.accuracies),
            len(self.accuracies if self.standard_errors is None else self.standard_errors),
        }
        if len(counts) != 1 or 0 in counts:
            raise ValueError(
                f'a curve needs as many accuracies (and standard errors) as costs, and one at least: {self}'
            )
        if min(self.accuracies) < 0 or max(self.accuracies) > 1:
            raise ValueError(f'accuracies are fractions in [0, 1]; got {list(self.accuracies)}')


def draw_curves(
    curves: Mapping[str, Curve],
    *,
    title: str = '',
    accuracy_name: str = 'top-1 accuracy',
    cost_name: str = 'GMACs per clip (1e9 multiply-adds)',
    logarithmic: bool | None = None,
    chance: float | None = None,
    size: tuple[int, int] = (900, 600),
) -> np.ndarray:
    """Draw accuracy against GMACs per clip, one line a method; a method of one point is a lone marker.

    Args:
        curves: name of the method -> its points.
        title: written over the plot.
        accuracy_name: what the accuracies measure.
        cost_name: what the costs are.
        logarithmic: cost axis in powers; None chooses it when the dearest point costs over 20 times the
            cheapest.
        chance: accuracy of guessing, a fraction, drawn as a dotted line.
        size: (width, height) in pixels.

    Returns:
        The picture, ``(height, width, 3)`` uint8 RGB.
    """
    if not curves:
        raise ValueError('no curve to draw')
    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (name, curve) in enumerate(curves.items()):
        errors = None if curve.standard_errors is None else 100 * np.asarray(curve.standard_errors)
        axes.errorbar(
            curve.gmacs,
            100 * np.asarray(curve.accuracies),
            yerr=errors,
            label=name,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=8,
            linewidth=2,
            capsize=4,
        )
    if chance is not None:
        axes.axhline(100 * chance, color='#59636e', linestyle=':', label='chance')
    costs = [cost for curve in curves.values() for cost in curve.gmacs]
    if logarithmic or (logarithmic is None and min(costs) > 0 and max(costs) > 20 * min(costs)):
        axes.set_xscale('log')
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter('{x:g}'))  # 0.1, not a power of ten
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(cost_name, fontsize=13)
    axes.set_ylabel(f'{accuracy_name} (%)', fontsize=13)
    axes.set_title(title, fontsize=15)
    axes.tick_params(labelsize=12)
    axes.grid(True, color='#d0d7de', linewidth=0.8)
    axes.legend(fontsize=12)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
