"""The page in a real browser: it answers, to a mouse, to keys, on a phone, and asks no network."""

import shutil

import pytest

from gfvideo.report import write_report

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')


@pytest.fixture(scope='module')
def browser():
    playwright = pytest.importorskip('playwright.sync_api', reason='no playwright: pip install playwright')
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f'no Chromium ({", ".join(NAMES)}) on this machine')
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=program, args=['--no-sandbox'])
        yield chromium
        chromium.close()


@pytest.fixture(scope='module')
def address(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp('page') / 'report.html'
    return write_report([runs.looks, runs.static], out, title='<img src=x onerror=harmed=1>').as_uri()


@pytest.fixture(params=[(1280, 'light'), (400, 'dark')], ids=['desk', 'phone'])
def page(request, browser, address):
    """The page, opened; whatever it complains of, or asks of a network, fails the test."""
    width, scheme = request.param
    context = browser.new_context(viewport=dict(width=width, height=800), color_scheme=scheme)
    page, faults = context.new_page(), []
    page.set_default_timeout(300_000)  # a busy machine
    page.on('console', lambda message: faults.append(message.text) if message.type != 'log' else None)
    page.on('pageerror', lambda error: faults.append(str(error)))
    page.on(
        'request',
        lambda asked: None if asked.url.startswith(('file:', 'data:', 'blob:')) else faults.append(asked.url),
    )
    page.goto(address)
    yield page
    assert not faults
    assert page.evaluate('window.harmed') is None
    context.close()


def clips_shown(page):
    return page.locator('#gallery .card')


def test_charts_are_drawn_when_they_come_near(page):
    for key in ('confusion-0', 'classes-0'):
        page.locator(f'[data-chart={key}]').scroll_into_view_if_needed()
        page.locator(f'[data-chart={key}] svg.main-svg').first.wait_for()
    labels = page.locator('[data-chart=confusion-0] .ytick text').all_text_contents()
    assert '0 up & <b>up</b>' in labels
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')  # nothing sticks out


def test_clips_are_there_before_plotly_is_read(page):
    page.locator('[data-chart=loss]').scroll_into_view_if_needed()
    page.locator('[data-chart=loss] svg.main-svg').first.wait_for()
    marks = page.evaluate(
        "Object.fromEntries(performance.getEntriesByType('mark').map((one) => [one.name, one.startTime]))"
    )
    assert marks['clips are there'] < marks['plotly is there']
    assert page.evaluate("document.querySelectorAll('script#plotly').length") == 1


def test_colours_follow_the_theme(page):
    page.locator('[data-chart=loss]').scroll_into_view_if_needed()
    page.locator('[data-chart=loss] svg.main-svg').first.wait_for()
    colour = '[data-chart=loss]'
    seen = {}
    for scheme in ('light', 'dark'):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(300)
        seen[scheme] = (
            page.eval_on_selector(colour, 'one => one.data[0].line.color'),
            page.evaluate('getComputedStyle(document.body).backgroundColor'),
        )
    assert seen['light'] == ('#0072B2', 'rgb(255, 255, 255)')
    assert seen['dark'][0] == '#56B4E9' and seen['dark'][1] == 'rgb(18, 22, 28)'


def test_filters_filter(page):
    form = page.locator('#filters')
    assert clips_shown(page).count() == 18
    form.locator('[name=verdict]').select_option('right')
    right = clips_shown(page).count()
    assert page.locator('#gallery .card.wrong').count() == 0
    form.locator('[name=verdict]').select_option('wrong')
    assert clips_shown(page).count() == 18 - right
    form.locator('[name=verdict]').select_option('')
    form.locator('[name=label]').select_option('1')
    assert clips_shown(page).count() == 6
    assert set(clips_shown(page).locator('.true').all_text_contents()) == {
        '</script><script>window.harmed=1</script>'
    }
    form.locator('[name=search]').fill('test1')
    assert clips_shown(page).count() == 4  # 1, 10, 13 and 16 have label 1
    form.locator('[name=search]').fill('nobody')
    assert clips_shown(page).count() == 0
    assert page.locator('#count').text_content().startswith('None of 18 clips')
    form.locator('button[type=reset]').click()
    page.wait_for_function("document.querySelectorAll('#gallery .card').length === 18")


def test_filter_by_exit_and_order_by_ease(page):
    form = page.locator('#filters')
    exits = form.locator('[name=exit] option').all()
    counts = []
    for value in [one.get_attribute('value') for one in exits if one.get_attribute('value')]:
        form.locator('[name=exit]').select_option(value)
        counts.append(clips_shown(page).count())
    assert sum(counts) == 18 and min(counts) > 0
    form.locator('button[type=reset]').click()
    page.wait_for_function("document.querySelectorAll('#gallery .card').length === 18")
    first = {}
    for order in ('easiest', 'hardest'):
        form.locator('[name=order]').select_option(order)
        first[order] = clips_shown(page).locator('.id').all_text_contents()
    assert first['easiest'] != first['hardest'] and set(first['easiest']) == set(first['hardest'])


def test_runs_are_shown_in_turn(page):
    page.locator('#filters [name=run]').select_option('1')
    assert clips_shown(page).count() == 18
    assert page.locator('#exit-filter').is_hidden()  # a static network has none
    assert page.locator('.thumb svg rect').count() == 0
    page.locator('#filters [name=run]').select_option('0')
    assert page.locator('.thumb svg rect').count() == 18 * 2 * 2  # two looks, each with a dark edge


def picture(page):
    return page.evaluate("document.getElementById('canvas').toDataURL()")


def test_sliders_move_through_frames_and_looks(page):
    clips_shown(page).nth(2).click()
    assert page.locator('#viewer').is_visible()
    page.wait_for_function("document.getElementById('canvas').width > 300")
    page.wait_for_timeout(200)
    seen = {picture(page)}
    page.locator('#frame').fill('0')
    assert page.locator('#frame-name').text_content().startswith('1 of 4')
    seen.add(picture(page))
    page.locator('#look').fill('0')
    assert page.locator('#look-name').text_content() == 'glance alone'
    seen.add(picture(page))
    page.locator('#seen').check()
    seen.add(picture(page))
    assert len(seen) == 4
    assert page.locator('#answers tr.now th').text_content().startswith('glance')
    assert page.locator('#answers tr').count() == 3


def test_keys_alone_will_do(page):
    clips_shown(page).first.focus()
    page.keyboard.press('Enter')
    title = page.locator('#viewer-title')
    assert page.locator('#viewer').is_visible() and title.text_content().startswith('test0')
    page.keyboard.press('ArrowRight')
    assert page.locator('#frame').input_value() == '3'
    page.keyboard.press('ArrowLeft')
    page.keyboard.press('ArrowDown')
    assert page.locator('#frame').input_value() == '2' and page.locator('#look').input_value() == '1'
    page.keyboard.press('n')
    assert title.text_content().startswith('test1')
    page.keyboard.press('p')
    page.keyboard.press('Tab')
    page.keyboard.press('ArrowLeft')  # on the slider of looks, its own key
    assert page.locator('#look').input_value() == '1'
    page.keyboard.press('Escape')
    assert page.locator('#viewer').is_hidden()
    assert page.evaluate("document.activeElement.classList.contains('card')")


def test_a_patch_is_drawn_where_it_was_cut(page):
    """The first look's outline has its colour at the edge that the predictions tell."""
    clips_shown(page).first.click()
    page.wait_for_function("document.getElementById('canvas').width > 300")
    page.wait_for_timeout(200)
    page.locator('#frame').fill('1')
    page.locator('#look').fill('1')
    colour = page.evaluate(
        """() => {
            const { gallery } = JSON.parse(document.getElementById('data').textContent);
            const [top, left, height, width] = gallery.runs[0].clips[0].windows[0][1];
            const canvas = document.getElementById('canvas');
            const x = (left + width / 2) * canvas.width, y = (top + height) * canvas.height;
            return [...canvas.getContext('2d').getImageData(x, y - 1, 1, 1).data];
        }"""
    )
    assert max(abs(a - b) for a, b in zip(colour, (0xE6, 0x9F, 0x00))) < 12
