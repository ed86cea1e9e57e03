"""The page about a prepared dataset: which frames it shows, and that it fits."""

from __future__ import annotations

import shutil

import pytest

from data_prep.common.steps.stats import collect
from data_prep.common.steps.stats_page import sampled_rows, stats_page
from gfvideo.data.manifest import ClipRow, write_manifest

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
CLASSES = [f'class {number}' for number in range(40)] + ['<img src=x onerror=harmed=1> ' + 'long' * 30]


def manifest_of(folder, labels):
    rows = [
        ClipRow(f'clip{number}', f'{number}.mp4', 'video', label, 8, 32, 48)
        for number, label in enumerate(labels)
    ]
    return write_manifest(
        folder,
        name='clips & more',
        version='1',
        classes=CLASSES,
        label_order='sorted',
        rows={'train': rows},
        video_root='videos',
    )


def test_shown_clips_are_spread_over_the_classes(tmp_path):
    many = sampled_rows(manifest_of(tmp_path / 'many', sorted([*range(40)] * 3)), 'train', 10)
    assert [row.label for row in many] == [0, 4, 9, 13, 17, 22, 26, 30, 35, 39]
    assert all(int(row.id.removeprefix('clip')) % 3 == 1 for row in many)  # the middle one of each class
    few = sampled_rows(manifest_of(tmp_path / 'few', [0] * 9 + [1]), 'train', 6)
    assert [row.label for row in few] == [0, 0, 0, 1]
    assert len({row.id for row in few}) == 4
    alone = sampled_rows(manifest_of(tmp_path / 'alone', [None] * 3), 'train', 6)
    assert [row.label for row in alone] == [None] * 3


@pytest.fixture
def page(tmp_path):
    manifest = manifest_of(tmp_path, [0, 1, 1, 40])
    failed = [
        {'split': 'train', 'id': f'<b>{number}</b>', 'reason': 'missing', 'detail': 'no file ' + 'x' * 300}
        for number in range(7)
    ]
    numbers = collect(manifest, failed, [])
    numbers['bytes'] = {'train': {'clips': 4, 'sources': 8_000, 'prepared': 2_000_000}}
    return stats_page(manifest, numbers)


def test_all_classes_examples_and_bytes_are_there(page):
    assert all(f'<td>class {number}</td>' in page for number in range(40))
    assert page.count('<li>') == 6 and 'and 2 more, in failed.jsonl' in page
    assert '<td>8 kB</td><td>2 MB</td><td>25000 %</td><td>500 kB</td>' in page
    assert '<b>' not in page and '<img src=x' not in page and '&lt;img src=x' in page
    # the videos are not there: the page says so rather than to fail
    assert page.count('0.mp4: ') == 1 and 'width=device-width' in page


@pytest.mark.parametrize(('width', 'scheme'), [(1280, 'light'), (400, 'dark')])
def test_it_fits_and_asks_no_network(page, tmp_path, width, scheme):
    playwright = pytest.importorskip('playwright.sync_api', reason='no playwright: pip install playwright')
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f'no Chromium ({", ".join(NAMES)}) on this machine')
    (tmp_path / 'stats.html').write_text(page, encoding='utf-8')
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=program, args=['--no-sandbox'])
        context = chromium.new_context(viewport=dict(width=width, height=800), color_scheme=scheme)
        shown, asked = context.new_page(), []
        shown.on('request', lambda one: asked.append(one.url))
        shown.goto((tmp_path / 'stats.html').as_uri())
        assert shown.evaluate('document.documentElement.scrollWidth <= innerWidth')
        ground = shown.evaluate('getComputedStyle(document.body).backgroundColor')
        assert ground == {'light': 'rgb(255, 255, 255)', 'dark': 'rgb(18, 22, 28)'}[scheme]
        assert all(url.startswith(('file:', 'data:')) for url in asked)
        assert shown.evaluate('window.harmed') is None
        chromium.close()
