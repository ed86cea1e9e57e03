"""Charts for papers: PDF and SVG, drawn by Matplotlib."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ..files import write_atomically
from ..visualization.curves import COLOURS, MARKERS
from .charts import BarChart, Chart, LineChart, MatrixChart, shortened

__all__ = ['draw_figure', 'write_figures']

# text stays text in the files: it can be searched, and set in the paper's font
SETTINGS: Any = {
    'pdf.fonttype': 42,
    'svg.fonttype': 'none',
    'svg.hashsalt': 'gfvideo',
    'font.size': 8,
    'text.parse_math': False,
}


def write_figures(charts: Iterable[Chart], folder: str | Path) -> list[Path]:
    """Write each chart as ``KEY.pdf`` and ``KEY.svg`` into a folder, which is made.

    Returns:
        The files.
    """
    import io

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with matplotlib.rc_context(SETTINGS):
        for chart in charts:
            figure = draw_figure(chart)
            for form, told in (('pdf', dict(CreationDate=None)), ('svg', dict(Date=None))):
                drawn = io.BytesIO()
                figure.savefig(drawn, format=form, metadata=told)
                write_atomically(folder / f'{chart.key}.{form}', drawn.getvalue())
                written.append(folder / f'{chart.key}.{form}')
    return written


def draw_figure(chart: Chart) -> Figure:
    """A chart as a figure of one column, or two where there is much to show."""
    size = (4.2, 3.0)
    if isinstance(chart, LineChart) and len(chart.lines) > 4:
        size = (4.2, 3.0 + 0.07 * len(chart.lines))
    if isinstance(chart, BarChart) and len(chart.labels) > 12:
        size = (4.2, 0.6 + 0.16 * len(chart.labels)) if chart.lying else (6.8, 2.8)
    figure = Figure(figsize=size, layout='constrained')
    axes = figure.add_subplot()
    if isinstance(chart, LineChart):
        _draw_lines(axes, chart)
    elif isinstance(chart, BarChart):
        _draw_bars(axes, chart)
    else:
        _draw_matrix(figure, axes, chart)
    return figure


def colours_of(chart: LineChart) -> list[int]:
    """The number of each line's colour: the same for lines of one group."""
    groups = list(dict.fromkeys(line.group or line.name for line in chart.lines))
    return [groups.index(line.group or line.name) for line in chart.lines]


def _draw_lines(axes: Any, chart: LineChart) -> None:
    for number, (line, colour) in enumerate(zip(chart.lines, colours_of(chart))):
        axes.errorbar(
            line.x,
            line.y,
            yerr=line.errors,
            label=line.name,
            color=COLOURS[colour % len(COLOURS)],
            linestyle='--' if line.dashed else '-',
            marker=MARKERS[number % len(MARKERS)] if line.markers else None,
            markersize=4,
            linewidth=1.2,
            capsize=2,
        )
    for x, name in chart.marks:
        axes.axvline(x, color='#59636e', linewidth=0.6, linestyle=':')
        axes.annotate(name, (x, 1), xycoords=('data', 'axes fraction'), fontsize=6, rotation=90, va='top')
    if chart.logarithmic:
        axes.set_xscale('log')
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=chart.x_name, ylabel=chart.y_name)
    axes.grid(True, color='#d0d7de', linewidth=0.4)
    if len(chart.lines) > 4:  # there is no room among the lines
        axes.figure.legend(loc='outside lower center', ncols=2, fontsize=6)
    else:
        axes.legend(fontsize=6)


def _draw_bars(axes: Any, chart: BarChart) -> None:
    places, width = np.arange(len(chart.labels)), 0.8 / max(1, len(chart.bars))
    for number, (name, heights) in enumerate(chart.bars.items()):
        shifted = places + (number - (len(chart.bars) - 1) / 2) * width
        draw = axes.barh if chart.lying else axes.bar
        draw(shifted, heights, width, label=name, color=COLOURS[number % len(COLOURS)])
    labels = [shortened(label, 32) for label in chart.labels]
    if chart.lying:
        axes.set_yticks(places, labels, fontsize=6)
        axes.invert_yaxis()
        axes.set(xlabel=chart.y_name)
    else:
        axes.set_xticks(places, labels, rotation=90 if len(labels) > 12 else 0, fontsize=6)
        axes.set(xlabel=chart.x_name, ylabel=chart.y_name)
    if len(chart.bars) > 1:
        axes.legend(fontsize=6)


def _draw_matrix(figure: Figure, axes: Any, chart: MatrixChart) -> None:
    shown = axes.imshow(np.array(chart.shares), cmap='cividis', vmin=0, vmax=1)
    figure.colorbar(shown, ax=axes, label='share of the true class', shrink=0.8)
    size = 6 if len(chart.labels) <= 30 else 2.5
    places, numbers = range(len(chart.labels)), [label.split()[0] for label in chart.labels]
    axes.set_xticks(places, numbers, rotation=90 if len(numbers) > 12 else 0, fontsize=size)
    axes.set_yticks(places, [shortened(label, 32) for label in chart.labels], fontsize=size)
    axes.set(xlabel='recognized as', ylabel='true class')
    if len(chart.labels) <= 12:
        for row, (counts, shares) in enumerate(zip(chart.counts, chart.shares)):
            for column, (count, share) in enumerate(zip(counts, shares)):
                if count:
                    colour = 'black' if share > 0.5 else 'white'
                    axes.text(column, row, count, ha='center', va='center', fontsize=6, color=colour)
