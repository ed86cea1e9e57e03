"""Files that hold a film of looks: a film, a still, or a page with both that needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
import numpy as np

from ..files import write_atomically, written_whole

__all__ = ['FILM_FORMS', 'FORMS', 'STILL_FORMS', 'film_writer', 'form_of', 'write_page']

FILM_FORMS, STILL_FORMS = ('.mp4', '.gif'), ('.png', '.pdf', '.svg')
FORMS = (*FILM_FORMS, *STILL_FORMS, '.html')
H264 = ('libx264', 'libopenh264', 'h264_videotoolbox', 'mpeg4')  # what an mp4 is written with, the best first


def form_of(path: str | PathLike[str]) -> str:
    """The form that a file's ending asks for, one of :data:`FORMS`.

    Raises:
        ValueError: if it is another.
    """
    form = Path(path).suffix.lower()
    if form not in FORMS:
        raise ValueError(
            f'{path}: end it in {", ".join(FILM_FORMS)} (a film), {", ".join(STILL_FORMS)} (a still)'
            ' or .html (a page with both)'
        )
    return form


@contextmanager
def film_writer(
    path: str | PathLike[str], fps: float, form: str | None = None
) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that adds a picture ``(H, W, 3)`` uint8 RGB to a film; the film is there, whole, when the
    block ends well.

    Args:
        path: of the file, ``.mp4`` (H.264 where PyAV brings it along) or ``.gif`` (a palette of its own a
            picture).
        fps: pictures a second, above 0.
        form: '.mp4' or '.gif'; what the ending says by default.

    Raises:
        ValueError: if the form is none of a film, ``fps`` is not above 0, a picture has an odd height or
            width (of mp4), or another size than the first one.
    """
    form = form or form_of(path)
    if form not in FILM_FORMS:
        raise ValueError(f'{form} is no film; choose of {", ".join(FILM_FORMS)}')
    if not fps > 0:
        raise ValueError(f'fps={fps} must be above 0')
    with written_whole(Path(path)) as part, av.open(str(part), 'w', format=form[1:]) as container:
        encoder = _Encoder(container, Fraction(fps).limit_denominator(1000), form)
        yield encoder.add
        encoder.end()


class _Encoder:
    def __init__(self, container: av.container.OutputContainer, rate: Fraction, form: str):
        self._container, self._rate, self._form = container, rate, form
        self._stream: av.VideoStream | None = None
        self._size: tuple[int, ...] = ()
        self._count = 0

    def add(self, picture: np.ndarray) -> None:
        if self._stream is None:
            self._size = picture.shape
            self._stream = self._opened(*picture.shape[:2])
        if picture.shape != self._size:
            raise ValueError(
                f'picture {self._count} of a film is {picture.shape}, the first one {self._size}; all are of'
                ' one size'
            )
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format='rgb24')
        frame.pts, frame.time_base = self._count, 1 / self._rate
        self._count += 1
        if self._form == '.gif':
            frame = _with_palette(frame)
        self._container.mux(self._stream.encode(frame))

    def _opened(self, height: int, width: int) -> av.VideoStream:
        if self._form == '.mp4' and (height % 2 or width % 2):
            raise ValueError(f'pictures of {height}x{width} (height x width); an mp4 needs even numbers')
        codec = 'gif' if self._form == '.gif' else next(name for name in H264 if name in av.codecs_available)
        stream = self._container.add_stream(codec, rate=self._rate)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = height, width
        stream.pix_fmt = 'pal8' if self._form == '.gif' else 'yuv420p'
        if codec == 'libx264':
            stream.options = {'crf': '20', 'preset': 'fast'}
        elif self._form == '.mp4':
            stream.bit_rate = 8 * height * width
        return stream

    def end(self) -> None:
        if self._stream is None:
            raise ValueError('a film of no picture; was there no frame in the video?')
        self._container.mux(self._stream.encode())


def _with_palette(frame: av.VideoFrame) -> av.VideoFrame:
    """The picture in 256 colours of its own."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    split, make = graph.add('split'), graph.add('palettegen', 'reserve_transparent=0')
    use, sink = graph.add('paletteuse', 'dither=sierra2_4a'), graph.add('buffersink')
    source.link_to(split)
    split.link_to(make, 0)
    split.link_to(use, 1, 0)
    make.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    graph.push(frame)
    graph.push(None)
    made = graph.vpull()
    made.pts, made.time_base = frame.pts, frame.time_base
    return made


# ----------------------------------------------------------------------------------------------------- a page

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 0 auto; max-width: 1320px; padding: 1rem; font: 16px/1.5 system-ui, sans-serif;
       color: #1f2328; background: #fff }}
video, img {{ width: 100%; height: auto; border: 1px solid #d8dee4 }}
.scroll {{ overflow-x: auto }}
table {{ border-collapse: collapse }}
th, td {{ padding: .2rem .9rem .2rem 0; text-align: left; border-bottom: 1px solid #d8dee4;
         white-space: nowrap }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{summary}</p>
<video controls autoplay loop muted playsinline src="data:video/mp4;base64,{film}"></video>
<h2>At a glance</h2>
<img alt="{summary}" src="data:image/svg+xml;base64,{still}">
<h2>In numbers</h2>
<div class="scroll"><table>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
</body>
</html>
"""


def write_page(
    path: str | PathLike[str],
    film: Path,
    still: Path,
    *,
    title: str,
    summary: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> None:
    """Write a page that holds all it shows: the film, the still, and a table.

    Args:
        path: of the page.
        film: an mp4 file.
        still: an svg file.
        title: of the page.
        summary: how it ended, in a sentence.
        heads, rows: of the table.
    """
    cells = ['<tr>' + ''.join(f'<td>{html.escape(cell)}</td>' for cell in row) + '</tr>' for row in rows]
    page = PAGE.format(
        title=html.escape(title),
        summary=html.escape(summary),
        film=base64.b64encode(film.read_bytes()).decode(),
        still=base64.b64encode(still.read_bytes()).decode(),
        heads=''.join(f'<th>{html.escape(head)}</th>' for head in heads),
        rows='\n'.join(cells),
    )
    write_atomically(Path(path), page.encode())
