import base64
import re

import av
import numpy as np
import pytest

from gfvideo.visualization import film_writer, form_of, save_picture, write_page
from gfvideo.visualization.canvas import Canvas


def pictures(count=4, height=48, width=64):
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)]
    return [np.full((height, width, 3), colours[n % 4], np.uint8) for n in range(count)]


def read(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.to_ndarray(format='rgb24') for frame in container.decode(stream)], stream.average_rate


@pytest.mark.parametrize('form', ['.mp4', '.gif'])
def test_a_film_opens_again(tmp_path, form):
    with film_writer(tmp_path / 'new' / f'film{form}', 5) as add:
        for picture in pictures():
            add(picture)
    shown, rate = read(tmp_path / 'new' / f'film{form}')
    assert len(shown) == 4 and float(rate) == pytest.approx(5, rel=0.01)
    for picture, given in zip(shown, pictures()):
        assert np.abs(picture.astype(int) - given).max() < 12
    assert [path.name for path in (tmp_path / 'new').iterdir()] == [f'film{form}']


def test_what_is_interrupted_leaves_nothing_and_what_stood_there_stays(tmp_path):
    (tmp_path / 'film.mp4').write_bytes(b'before')
    with pytest.raises(KeyboardInterrupt), film_writer(tmp_path / 'film.mp4', 5) as add:
        add(pictures()[0])
        raise KeyboardInterrupt
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b'before']


def test_what_is_no_film_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'film.txt: end it in .mp4, .gif'):
        form_of(tmp_path / 'film.txt')
    with pytest.raises(ValueError, match='picture 1 of a film'), film_writer(tmp_path / 'a.mp4', 5) as add:
        add(pictures()[0])
        add(pictures(height=50)[0])
    with pytest.raises(ValueError, match='even numbers'), film_writer(tmp_path / 'a.mp4', 5) as add:
        add(pictures(height=47)[0])
    with pytest.raises(ValueError, match='no picture'), film_writer(tmp_path / 'a.mp4', 5):
        pass
    with pytest.raises(ValueError, match='fps=0'), film_writer(tmp_path / 'a.mp4', 0):
        pass
    assert not list(tmp_path.iterdir())


def test_stills_as_vectors_and_as_pixels(tmp_path):
    canvas = Canvas(40, 60)
    canvas.paste(pictures(height=20, width=20)[0], 10, 20)
    canvas.text('words', 5, 5, 8)
    for form in ('png', 'pdf', 'svg'):
        canvas.save(tmp_path / f'still.{form}')
    assert (tmp_path / 'still.pdf').read_bytes().startswith(b'%PDF')
    assert (
        '<image' in (tmp_path / 'still.svg').read_text() and 'words' in (tmp_path / 'still.svg').read_text()
    )
    shown, _ = read(tmp_path / 'still.png')
    assert shown[0].shape == (40, 60, 3) and tuple(shown[0][20, 30]) == (200, 30, 30)
    assert np.array_equal(canvas.render(), shown[0])  # saving changed nothing


def test_a_page_holds_all_it_shows(tmp_path):
    with film_writer(tmp_path / 'film.mp4', 5) as add:
        add(pictures()[0])
    canvas = Canvas(40, 60)
    canvas.save(tmp_path / 'still.svg')
    write_page(
        tmp_path / 'page.html',
        tmp_path / 'film.mp4',
        tmp_path / 'still.svg',
        title='cats & <dogs>',
        summary='a cat (90 %)',
        heads=['frame', 'says'],
        rows=[['0', 'a "cat"']],
    )
    page = (tmp_path / 'page.html').read_text()
    assert 'cats &amp; &lt;dogs&gt;' in page and '<td>a &quot;cat&quot;</td>' in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    film = base64.b64decode(re.search(r'data:video/mp4;base64,([^"]+)', page)[1])
    assert film == (tmp_path / 'film.mp4').read_bytes()
    save_picture(pictures()[0], tmp_path / 'x.png')
