"""Charts as plain values, drawn twice: by Plotly on the page, by Matplotlib for papers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ['BarChart', 'Chart', 'Line', 'LineChart', 'MatrixChart', 'shortened']


@dataclass(frozen=True)
class Line:
    """One line, or lone markers, of a chart.

    Attributes:
        name: in the legend.
        x, y: as many of each.
        errors: of ``y``, drawn as bars; None for none.
        group: lines of one group share a colour; '' for the line's own.
        dashed: drawn dashed.
        markers: drawn with markers.
        notes: of each point, shown when it is pointed at; None for none.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    errors: Sequence[float] | None = None
    group: str = ''
    dashed: bool = False
    markers: bool = False
    notes: Sequence[str] | None = None

    def __post_init__(self) -> None:
        lengths = {len(values) for values in (self.x, self.y, self.errors, self.notes) if values is not None}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f'line {self.name!r} needs as many x as y, errors and notes, and one at least')
        if any(math.isnan(value) for value in self.x):
            raise ValueError(f'line {self.name!r} has a point without a place on the x axis (nan)')


@dataclass(frozen=True)
class LineChart:
    """Lines over a common axis.

    Attributes:
        key: of the file and of the element of the page: letters, digits and hyphens.
        title, x_name, y_name: written on it.
        alt: what it shows, for those who do not see it.
        lines: one at least.
        logarithmic: the x axis in powers.
        marks: (x, what begins there), drawn as vertical lines.
    """

    key: str
    title: str
    alt: str
    x_name: str
    y_name: str
    lines: Sequence[Line]
    logarithmic: bool = False
    marks: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True)
class BarChart:
    """Bars side by side.

    Attributes:
        key, title, alt, y_name: as of :class:`LineChart`.
        x_name: what the bars are of.
        labels: one under each bar.
        bars: name -> a height for each label.
        lying: drawn from left to right, for long names.
    """

    key: str
    title: str
    alt: str
    x_name: str
    y_name: str
    labels: Sequence[str]
    bars: dict[str, Sequence[float]] = field(default_factory=dict)
    lying: bool = False


@dataclass(frozen=True)
class MatrixChart:
    """Shares in colours, with counts.

    Attributes:
        key, title, alt: as of :class:`LineChart`.
        labels: of the rows: the number of the class and its name; the columns have the numbers alone.
        counts: a list a row.
    """

    key: str
    title: str
    alt: str
    labels: Sequence[str]
    counts: Sequence[Sequence[int]]

    @property
    def shares(self) -> list[list[float]]:
        """Counts over the sum of their row, 0 in a row of nothing."""
        return [[count / max(1, sum(row)) for count in row] for row in self.counts]


Chart = LineChart | BarChart | MatrixChart


def shortened(name: str, most: int) -> str:
    """A name of at most ``most`` characters; names of classes often differ at their ends, so the middle
    goes."""
    if len(name) <= most:
        return name
    ahead = (most - 1) // 2
    return f'{name[:ahead]}…{name[len(name) - (most - 1 - ahead) :]}'
