"""One page that needs nothing beside itself: charts by Plotly, the rest plain HTML, and no address of a
network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..visualization import LOOK_COLOURS
from ..visualization.curves import COLOURS, MARKERS
from .answers import ClassRow
from .charts import BarChart, Chart, LineChart, MatrixChart, shortened
from .figures import colours_of
from .results import ResultGroup

__all__ = ['ClassTable', 'Figures', 'RatioRow', 'plotly_figure', 'plotly_script', 'render_page']

HERE = Path(__file__).parent
DARK = ('#56B4E9', '#E69F00', '#2BC49A', '#E79AC6', '#F0803C', '#A5D8F3', '#F0F0F0')
"""The colours of the same lines on a dark page."""
SYMBOLS = dict(
    zip(MARKERS, ('circle', 'square', 'diamond', 'triangle-down', 'triangle-up', 'cross', 'x', 'star'))
)
LONGEST_NAME = 30
"""Characters of a class name on an axis."""


@dataclass(frozen=True)
class Figures:
    """A part of the page: charts, and what is missing from it.

    Attributes:
        charts: in their order.
        missing: (of which run, what, the command that would make it).
    """

    charts: Sequence[Chart]
    missing: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True)
class RatioRow:
    """A method beside a static network, in words.

    Attributes:
        static, method: names.
        sentence: what the one costs beside the other.
        gmacs, ms: shares in percent, '' if not measured.
    """

    static: str
    method: str
    sentence: str
    gmacs: str
    ms: str


@dataclass(frozen=True)
class ClassTable:
    """The classes of one run.

    Attributes:
        run: its name.
        exit_name: 'step' or 'frame', '' where exits are unknown.
        note: where the numbers are from.
        rows: one a class.
        charts: confusion matrix, bars.
    """

    run: str
    exit_name: str
    note: str
    rows: Sequence[ClassRow]
    charts: Sequence[Chart]


def plotly_script() -> str:
    """The whole of plotly.js, which the package plotly brings; it ships no smaller bundle.

    Raises:
        ImportError: if plotly is not installed; the message says how to.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError("the report needs plotly and jinja2: pip install 'gfvideo[report]'") from error
    return get_plotlyjs()


def render_page(
    title: str,
    runs: Sequence[dict[str, Any]],
    groups: Sequence[ResultGroup],
    costs: Figures,
    ratios: Sequence[RatioRow],
    training: Figures,
    exits: Figures,
    classes: Sequence[ClassTable],
    missing: dict[str, Sequence[tuple[str, str, str]]],
    gallery: dict[str, Any],
    faults: Sequence[str],
    command: str = '',
) -> str:
    """The page as text. Everything but the code of the page itself is escaped.

    Args:
        title: of the page.
        runs: dicts with ``name``, ``folder`` and ``facts``, (what, value) of each run.
        groups: the table of results.
        costs, ratios: accuracy against cost, and in words beside static networks.
        training, exits: charts.
        classes: a table and charts of each run.
        missing: of 'results', 'classes' and 'clips', as of :class:`Figures`.
        gallery: ``runs`` and ``videos``.
        faults: files that could not be read.
        command: that made the page.

    Raises:
        ImportError: if plotly or jinja2 is not installed.
    """
    script = plotly_script()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    world = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    world.filters['percent'] = percent
    charts = [*costs.charts, *training.charts, *exits.charts, *(c for one in classes for c in one.charts)]
    code = (HERE / 'page.js').read_text(encoding='utf-8')
    data = dict(
        charts={chart.key: plotly_figure(chart) for chart in charts},
        gallery=gallery,
        looks=LOOK_COLOURS,
        light=COLOURS,
        dark=DARK,
    )
    return world.get_template('page.html').render(
        title=title,
        runs=runs,
        groups=groups,
        costs=costs,
        ratios=ratios,
        training=training,
        exits=exits,
        classes=classes,
        missing=missing,
        gallery=gallery,
        faults=faults,
        command=command,
        numbers=numbers_of,
        data=as_script_data(data),
        style=(HERE / 'page.css').read_text(encoding='utf-8'),
        plotly=_closed(script),
        code=_closed(code),
        allowed=' '.join(_allowed(text) for text in (_closed(script), _closed(code))),
    )


def _closed(script: str) -> str:
    """A script that cannot end the element that it stands in."""
    return script.replace('</script', '<\\/script')


def _allowed(script: str) -> str:
    """What a content security policy calls a script by; none but these run, whatever a name may hold."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def as_script_data(data: Any) -> str:
    """JSON that may stand in a script element: it cannot end it."""
    text = json.dumps(data, separators=(',', ':'), allow_nan=False)
    return text.replace('<', '\\u003c').replace('>', '\\u003e').replace('&', '\\u0026')


def percent(share: float | None, digits: int = 1) -> str:
    """0.617 -> '61.7'; '–' of nothing."""
    return '–' if share is None or math.isnan(share) else f'{100 * share:.{digits}f}'


# ----------------------------------------------------------------------------------------------------- Plotly


def plotly_figure(chart: Chart) -> dict[str, Any]:
    """A chart as plotly.js takes it: dict(data, layout); ``meta.colour`` is the number of a trace's colour,
    which the page sets by its theme."""
    import plotly.graph_objects as go

    figure = go.Figure()
    if isinstance(chart, LineChart):
        _add_lines(figure, go, chart)
    elif isinstance(chart, BarChart):
        _add_bars(figure, go, chart)
    else:
        _add_matrix(figure, go, chart)
    return json.loads(figure.to_json())


def _add_lines(figure: Any, go: Any, chart: LineChart) -> None:
    for number, (line, colour) in enumerate(zip(chart.lines, colours_of(chart))):
        name = shown(line.name, 60)
        figure.add_trace(
            go.Scatter(
                x=[float(value) for value in line.x],
                y=[float(value) for value in line.y],
                error_y=None
                if line.errors is None
                else dict(array=[float(value) for value in line.errors], width=3),
                name=name,
                mode='lines+markers' if line.markers else 'lines',
                line=dict(width=2, dash='dash' if line.dashed else 'solid'),
                marker=dict(size=8, symbol=SYMBOLS[MARKERS[number % len(MARKERS)]]),
                hovertemplate=f'%{{x:.4g}}, %{{y:.4g}}<extra>{name}</extra>',
                meta=dict(colour=colour),
            )
        )
    if chart.logarithmic:
        values = [value for line in chart.lines for value in line.x]
        ticks = log_ticks(min(values), max(values))
        figure.update_xaxes(type='log', tickvals=ticks, ticktext=[f'{tick:g}' for tick in ticks])
    figure.update_xaxes(title_text=chart.x_name)
    figure.update_yaxes(title_text=chart.y_name)
    for x, name in chart.marks:
        figure.add_vline(
            x=x,
            line=dict(width=1, dash='dot'),
            annotation=dict(text=shown(name, 40), textangle=-90, yanchor='top', xanchor='left'),
        )


def _add_bars(figure: Any, go: Any, chart: BarChart) -> None:
    places = list(range(len(chart.labels)))
    for number, (name, heights) in enumerate(chart.bars.items()):
        figure.add_trace(
            go.Bar(
                x=list(heights) if chart.lying else places,
                y=places if chart.lying else list(heights),
                orientation='h' if chart.lying else 'v',
                name=shown(name, 60),
                customdata=[shown(label, 200) for label in chart.labels],
                hovertemplate=f'%{{customdata}}: %{{{"x" if chart.lying else "y"}:.3g}}<extra></extra>',
                meta=dict(colour=number),
            )
        )
    figure.update_layout(barmode='group', bargap=0.25)
    named = dict(title_text=chart.x_name, **_ticks(chart.labels), showgrid=False)
    valued = dict(title_text=chart.y_name, rangemode='tozero')
    if chart.lying:
        figure.update_xaxes(**valued)
        figure.update_yaxes(autorange='reversed', **named)
    else:
        figure.update_xaxes(**named)
        figure.update_yaxes(**valued)


def _add_matrix(figure: Any, go: Any, chart: MatrixChart) -> None:
    names = [shown(label, 200) for label in chart.labels]
    told = [
        [f'{names[row]} as {names[column]}: {count} of {sum(counts)}' for column, count in enumerate(counts)]
        for row, counts in enumerate(chart.counts)
    ]
    few = len(names) <= 12
    figure.add_trace(
        go.Heatmap(
            z=[[round(share, 4) for share in row] for row in chart.shares],
            text=[[str(count) if count else '' for count in row] for row in chart.counts] if few else None,
            texttemplate='%{text}' if few else None,
            hovertext=told,
            hovertemplate='%{hovertext}<extra></extra>',
            colorscale='Cividis',
            zmin=0,
            zmax=1,
            colorbar=dict(title=dict(text='share of the true class', side='right'), thickness=12),
        )
    )
    numbers = [label.split()[0] for label in chart.labels]
    figure.update_xaxes(title_text='recognized as', **_ticks(numbers))
    figure.update_yaxes(title_text='true class', autorange='reversed', **_ticks(chart.labels))


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from ``low`` to ``high``, one more at each end; without 2 and 5 where
    there would be many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if len(powers) <= 4 else (1,)
    return [float(f'{digit}e{power}') for power in powers for digit in digits]


def _ticks(labels: Sequence[str]) -> dict[str, Any]:
    """Marks for the names of an axis; of very many, some."""
    step = -(-len(labels) // 60)
    places = list(range(0, len(labels), step))
    return dict(tickvals=places, ticktext=[shown(labels[place], LONGEST_NAME) for place in places])


def shown(name: str, most: int) -> str:
    """A name as plotly.js, which reads tags and templates in its texts, shows it letter by letter."""
    return html.escape(shortened(name, most), quote=False).replace('%{', '%&#123;').replace('$', '&#36;')


# ---------------------------------------------------------------------------------- the numbers behind charts


def numbers_of(chart: Chart) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table of what a chart shows; of long lines the first and the last value."""
    if isinstance(chart, BarChart):
        return [chart.x_name, *chart.bars], [
            [label, *(f'{heights[place]:.3g}' for heights in chart.bars.values())]
            for place, label in enumerate(chart.labels)
        ]
    if isinstance(chart, MatrixChart):
        mistakes = [
            (count, label, other)
            for label, counts in zip(chart.labels, chart.counts)
            for other, count in zip(chart.labels, counts)
            if count and label != other
        ]
        mistakes.sort(key=lambda one: -one[0])
        return ['true class', 'recognized as', 'clips'], [
            [label, other, str(count)] for count, label, other in mistakes[:20]
        ]
    if chart.logarithmic:
        return ['method', chart.x_name, chart.y_name], [
            [line.name, f'{x:.4g}', f'{y:.1f}'] for line in chart.lines for x, y in zip(line.x, line.y)
        ]
    return ['line', 'first', 'last', 'lowest', 'highest'], [
        [line.name, *(f'{value:.4g}' for value in (line.y[0], line.y[-1], min(line.y), max(line.y)))]
        for line in chart.lines
    ]
