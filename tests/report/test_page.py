"""The page as text: what is there and what is missing, nothing of anybody's names taken for code."""

import json
import re
from html.parser import HTMLParser

import pytest

from gfvideo.report import write_report


class Elements(HTMLParser):
    """Elements with their attributes, and the texts of tables."""

    def __init__(self, text):
        super().__init__()
        self.found, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope='module')
def page(runs, tmp_path_factory):
    out = write_report(
        [runs.looks, runs.static],
        tmp_path_factory.mktemp('page') / 'report.html',
        title='<script>harmed=1</script>',
        names=['looks <i>', 'static "x"'],
        command='report --out "a<b>"',
    )
    return out.read_text()


def test_the_page_asks_for_nothing_from_elsewhere(page):
    elements = Elements(page).found
    for _, attributes in elements:
        for name in ('src', 'href', 'srcset', 'action', 'data'):
            address = attributes.get(name) or '#'
            assert address.startswith('#'), address
    policy = next(
        attributes['content'] for tag, attributes in elements if tag == 'meta' and 'http-equiv' in attributes
    )
    assert policy.startswith("default-src 'none'") and 'unsafe-eval' not in policy
    assert "script-src 'sha256-" in policy and 'http' not in policy


def test_names_are_texts_and_never_code(page):
    elements = Elements(page)
    scripts = [attributes for tag, attributes in elements.found if tag == 'script']
    assert [one.get('type') for one in scripts] == ['application/json', 'text/plain', None]
    assert not any(tag in ('i', 'b') and attributes for tag, attributes in elements.found)
    assert not any('onerror' in attributes for _, attributes in elements.found)
    texts = {text.strip() for text in elements.texts}
    assert {'<script>harmed=1</script>', 'looks <i>', 'up & <b>up</b>', 'report --out "a<b>"'} <= texts


def test_the_page_is_small_and_holds_plotly_once(page):
    assert page.count('plotly.js v') == 1
    assert len(page.encode()) < 20_000_000


def test_the_data_of_the_page_is_that_of_the_runs(page, runs):
    data = json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    )
    assert [run['name'] for run in data['gallery']['runs']] == ['looks <i>', 'static "x"']
    assert all(len(run['clips']) == 18 for run in data['gallery']['runs'])
    assert len(data['gallery']['videos']) == 18
    drawn = {attributes['data-chart'] for _, attributes in Elements(page).found if 'data-chart' in attributes}
    assert (
        drawn == set(data['charts']) >= {'accuracy-gmacs', 'loss', 'confusion-0', 'confusion-1', 'classes-0'}
    )
    hash_ = json.loads((runs.looks / 'test' / 'test_results.json').read_text())['dataset']['content_hash']
    assert f'title="{hash_}"' in page


def test_every_chart_has_words_for_those_who_do_not_see_it(page):
    plots = [attributes for _, attributes in Elements(page).found if 'data-chart' in attributes]
    assert plots and all(one['role'] == 'img' and len(one['aria-label']) > 30 for one in plots)


def test_what_is_missing_is_told_with_the_command_that_makes_it(runs, tmp_path):
    page = write_report([runs.bare], tmp_path / 'deep' / 'report.html', clips=0).read_text()
    lines = re.findall(r'<p class="missing"><span>(.*?)</span> <code>(.*?)</code>', page, re.DOTALL)
    commands = [command.split()[1] for _, command in lines]
    assert 'tools/calibrate.py' in commands and 'tools/test.py' in commands
    assert 'tools/analysis_tools/controls.py' in commands
    assert not any('tools/train.py' in command for command in commands)  # its log is there
    assert all(len(what) < 120 and '\n' not in what for what, _ in lines)
    assert '<form' not in page


@pytest.mark.parametrize(('names', 'message'), [(['a'], 'one for each'), (['a', 'a'], 'a name of its own')])
def test_runs_need_names_of_their_own(runs, tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        write_report([runs.bare, runs.static], tmp_path / 'report.html', names=names)


def test_without_plotly_the_remedy_is_told(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'plotly.offline', None)
    with pytest.raises(ImportError, match=r'gfvideo\[report\]'):
        write_report([runs.bare], tmp_path / 'report.html')
