import xml.etree.ElementTree as ElementTree

import pytest

from gfvideo.report import gather
from gfvideo.report.charts import BarChart, Line, LineChart, MatrixChart, shortened
from gfvideo.report.figures import draw_figure, write_figures
from gfvideo.report.page import as_script_data, log_ticks, numbers_of, plotly_figure


def charts_of(figures):
    return {chart.key: chart for chart in figures.charts}


def test_stages_stand_one_after_the_other(runs):
    charts = charts_of(gather([runs.bare]).training)
    (loss,) = charts['loss'].lines
    assert (list(loss.x), list(loss.y)) == ([10, 20, 25, 30], [3.0, 2.0, 1.0, 0.5])
    assert charts['loss'].marks == [(0, 'joint'), (20, 'policy')]
    assert {'reward', 'kl', 'std', 'explained', 'lr', 'accuracy', 'look-losses'} <= set(charts)
    (reward,) = charts['reward'].lines
    assert (list(reward.x), list(reward.y)) == ([25, 30], [0.1, 0.3])
    validated = {line.name: line for line in charts['accuracy'].lines}
    assert validated['top1_step2, validation'].y == [0.5] and validated['top1_step2, validation'].dashed


def test_of_several_runs_one_line_each(runs):
    charts = charts_of(gather([runs.bare, runs.static]).training)
    assert [line.name for line in charts['loss'].lines] == ['bare: loss', 'static: loss']
    assert charts['loss'].marks == [(0, 'joint'), (20, 'policy')]


def test_exits_of_steps_are_shares_of_clips(runs):
    (chart,) = gather([runs.looks]).exits.charts
    assert chart.labels == ['glance', 'look 1', 'look 2']
    assert len(chart.bars) == 2
    for heights in chart.bars.values():
        assert sum(heights) == pytest.approx(100)


def test_an_axis_of_cost_is_logarithmic(runs):
    charts = charts_of(gather([runs.looks, runs.static]).costs)
    assert set(charts) == {'accuracy-gmacs', 'accuracy-ms'}
    for chart in charts.values():
        assert chart.logarithmic and plotly_figure(chart)['layout']['xaxis']['type'] == 'log'


def test_every_chart_is_written_as_pdf_and_svg(runs, tmp_path):
    charts = gather([runs.looks]).charts
    written = write_figures(charts, tmp_path / 'figures')
    assert {path.name for path in written} == {
        f'{chart.key}.{form}' for chart in charts for form in ('pdf', 'svg')
    }
    for path in written:
        if path.suffix == '.svg':
            ElementTree.parse(path)
        else:
            assert path.read_bytes().startswith(b'%PDF')
    texts = (tmp_path / 'figures' / 'confusion-0.svg').read_text()
    assert '0 up &amp; &lt;b&gt;up&lt;/b&gt;' in texts  # text stays text


def test_names_are_shown_letter_by_letter():
    bars = BarChart('a', 'a', 'a', 'class', 'y', ['<b>x</b> %{y}', 'y'], {'<i>': [1, 2]})
    trace = plotly_figure(bars)['data'][0]
    assert trace['name'] == '&lt;i&gt;' and trace['customdata'][0] == '&lt;b&gt;x&lt;/b&gt; %&#123;y}'
    assert '<' not in as_script_data({'a': '</script><!--', 'b': ['&']})


def test_ticks_of_a_logarithmic_axis():
    assert log_ticks(0.03, 0.2) == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]
    assert log_ticks(1e-3, 1e3) == [1e-3, 1e-2, 1e-1, 1, 10, 100, 1000]


@pytest.mark.parametrize(
    ('name', 'most', 'expected'),
    [('abcdef', 6, 'abcdef'), ('abcdefg', 6, 'ab…efg'), ('abcdefgh', 5, 'ab…gh')],
)
def test_a_long_name_loses_its_middle(name, most, expected):
    assert shortened(name, most) == expected


def test_shares_of_a_matrix_and_its_mistakes():
    chart = MatrixChart('m', 'm', 'm', ['0 a', '1 b'], [[3, 1], [0, 0]])
    assert chart.shares == [[0.75, 0.25], [0, 0]]
    assert numbers_of(chart)[1] == [['0 a', '1 b', '1']]
    assert draw_figure(chart).axes[0].get_images()[0].get_array().tolist() == chart.shares


def test_lines_must_fit():
    with pytest.raises(ValueError, match='as many'):
        Line('a', [1, 2], [1])
    with pytest.raises(ValueError, match='nan'):
        Line('a', [float('nan')], [1])
    lines = [Line('a', [1, 2], [3, 4], group='g'), Line('b', [1], [2], group='g'), Line('c', [1], [2])]
    figure = plotly_figure(LineChart('k', 't', 'alt', 'x', 'y', lines, marks=[(1, 'm')]))
    assert [trace['meta']['colour'] for trace in figure['data']] == [0, 0, 1]
    assert len(figure['layout']['shapes']) == 1
