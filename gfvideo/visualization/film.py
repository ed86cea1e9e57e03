"""Pictures of what a recognizer looks at in a video, a moment each: the whole frame with the looks in place,
the looks enlarged, what it says and how sure it is, what that cost, and which looks were skipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..ops import ResizeMode
from .canvas import Canvas, fit_inside, resize
from .moments import Moment, Spent, Window, as_glanced, cut
from .patches import LOOK_COLOURS

__all__ = ['Scene', 'draw_moment', 'draw_strip', 'frame_as_seen', 'place_of']

INK, FAINT, PALE, GLANCE, SO_FAR, STOP = '#1f2328', '#59636e', '#d8dee4', '#57606a', '#0072B2', '#8250df'
BESIDE = 800  # a picture at least so wide has the words beside the frame, a narrower one beneath
COLUMNS = 40  # frames that the table of looks shows at once


@dataclass(frozen=True)
class Scene:
    """What holds for all moments of a film.

    Attributes:
        title: written over the pictures, e.g. the name of the video.
        classes: C names.
        steps: S, focus looks that a frame may get.
        glance_size: (height, width) of the glance; None of a recognizer that sees frames whole.
        glance_resize: how frames become the glance.
    """

    title: str
    classes: Sequence[str]
    steps: int
    glance_size: tuple[int, int] | None = None
    glance_resize: ResizeMode = 'antialiased'


@dataclass(frozen=True)
class _Sizes:
    """In pixels: outer margin, gap, and the heights of lines of text."""

    margin: int
    gap: int
    title: int
    text: int
    small: int
    tile: int
    bars: int


def _sizes(width: int) -> _Sizes:
    beside = width >= BESIDE
    scale = width / (1280 if beside else 400)
    heights = (28, 14, 30, 22, 18, 150) if beside else (12, 8, 20, 16, 13, 84)
    margin, gap, title, text, small, tile = (round(scale * height) for height in heights)
    return _Sizes(margin, gap, title, text, small, tile, bars=5 if beside else 3)


def draw_moment(scene: Scene, moment: Moment, width: int = 1280) -> Canvas:
    """One picture of the film.

    Args:
        scene: what holds for all of its pictures.
        moment: what this one tells.
        width: of the picture in pixels, even; from 800 on words stand beside the frame, else beneath it. All
            moments of frames of one size give pictures of one height.

    Returns:
        The picture, to be rendered or saved.

    Raises:
        ValueError: if the width is odd or below 200.
    """
    if width % 2 or width < 200:
        raise ValueError(f'width={width}: give an even number of pixels from 200 on')
    return _draw(scene, [moment], moment, width)


def draw_strip(scene: Scene, moments: Sequence[Moment], width: int = 1280) -> Canvas:
    """A still of a whole film: up to eight of its frames, evenly spread, and how it ended.

    Args:
        scene: what holds for all of them.
        moments: of the film, in order. Of a frame that comes several times the last moment is taken.
        width: as of :func:`draw_moment`.
    """
    last = {moment.index: moment for moment in moments}
    of_frames = list(last.values())
    chosen = sorted({round(i * (len(of_frames) - 1) / 7) for i in range(8)})
    return _draw(scene, [of_frames[i] for i in chosen], moments[-1], width)


def place_of(window: Window, inside: Window, seen: tuple[int, int]) -> tuple[int, int, int, int]:
    """(top, left, height, width), in whole pixels, of a window of what is seen, (h, w), which is drawn as the
    rectangle ``inside``."""
    edges = []
    for start, length, first, size, all_of in (
        (window.top, window.height, inside.top, inside.height, seen[0]),
        (window.left, window.width, inside.left, inside.width, seen[1]),
    ):
        begin, end = (round(first + size * at / all_of) for at in (start, start + length))
        edges.append((begin, max(1, end - begin)))
    return edges[0][0], edges[1][0], edges[0][1], edges[1][1]


# ------------------------------------------------------------------------------------------------- the layout


def _draw(scene: Scene, frames: Sequence[Moment], end: Moment, width: int) -> Canvas:
    sizes, beside = _sizes(width), width >= BESIDE
    inner = width - 2 * sizes.margin
    shape = _shown(frames[0]).shape[:2]
    room = inner * 5 // 8 if beside else inner
    columns, rows, cell = _grid(len(frames), (shape[0], shape[1]), (room * 5 // 8, room), sizes.gap)
    grid_height = rows * cell[0] + (rows - 1) * sizes.gap
    grid_width = columns * cell[1] + (columns - 1) * sizes.gap
    left = max(grid_width, room // 2) if beside else inner
    top = sizes.margin + round(1.3 * sizes.title) + round(1.5 * sizes.text) + sizes.gap // 2
    side = inner - left - 2 * sizes.gap if beside else inner
    tiles_high = _tile_side(scene, side, sizes)
    words = _heights(scene, sizes, tiles_high, side)
    legend = round((2.7 if beside else 2.9) * sizes.small)
    table = (scene.steps + 1) * round(1.25 * sizes.small) + round(1.6 * sizes.small)
    left_high = grid_height + legend + sizes.gap + table
    height = top + (max(left_high, sum(words)) if beside else left_high + sum(words) + sizes.gap)
    canvas = Canvas(2 * -(-(height + sizes.margin) // 2), width)

    _draw_head(canvas, scene, end, sizes, inner)
    for number, moment in enumerate(frames):
        y = top + number // columns * (cell[0] + sizes.gap)
        x = sizes.margin + number % columns * (cell[1] + sizes.gap)
        _draw_frame(canvas, scene, moment, y, x, cell, sizes, named=len(frames) > 1)
    y = top + grid_height
    _draw_legend(canvas, scene, frames[0], y, left, sizes)
    y += legend + sizes.gap
    if beside:
        x = sizes.margin + left + 2 * sizes.gap
        _draw_table(canvas, scene, end, y, sizes.margin, left, sizes)
        y = top
    else:
        x = sizes.margin
        _draw_table(canvas, scene, end, y, x, left, sizes)
        y += table + sizes.gap
    most = max(frames, key=lambda moment: (moment.watched, moment.looks, moment.place))
    heading = f'It sees, in frame {most.index}' if len(frames) > 1 else 'It sees'
    _draw_tiles(canvas, scene, most, y, x, heading, tiles_high, sizes)
    _draw_prediction(canvas, scene, end, y + words[0], x, side, sizes)
    _draw_costs(canvas, end.costs, y + words[0] + words[1], x, side, sizes)
    return canvas


def _grid(
    count: int, shape: tuple[int, int], room: tuple[int, int], gap: int
) -> tuple[int, int, tuple[int, int]]:
    """Columns, rows and (height, width) of a cell, that make frames of a shape largest in ``room``."""

    def cell(columns: int) -> tuple[int, int]:
        rows = -(-count // columns)
        free = (room[0] - (rows - 1) * gap) // rows, (room[1] - (columns - 1) * gap) // columns
        return fit_inside(shape, (max(1, free[0]), max(1, free[1])))

    columns = max(range(1, count + 1), key=lambda columns: cell(columns)[0])
    return columns, -(-count // columns), cell(columns)


def _heights(scene: Scene, sizes: _Sizes, tile: int, room: int) -> tuple[int, int, int]:
    """Of the tiles, the prediction and the costs."""
    bars, line = min(sizes.bars, len(scene.classes)), _line_of_a_class(scene, sizes, room)
    return (
        round(1.5 * sizes.text) + tile + round(1.5 * sizes.small) + sizes.gap,
        round(1.5 * sizes.text) + bars * line + sizes.gap,
        round(1.5 * sizes.text) + 3 * round(1.45 * sizes.small),
    )


def _name_lines(scene: Scene, sizes: _Sizes, room: int) -> int:
    """Lines that a class's name gets: as many, up to three, as the longest needs."""
    return min(3, max(1, -(-round(max(map(len, scene.classes)) * 0.62 * sizes.small) // room)))


def _line_of_a_class(scene: Scene, sizes: _Sizes, room: int) -> int:
    """Height of a class's name and bar."""
    return round((1.2 + 1.15 * _name_lines(scene, sizes, room)) * sizes.small)


def _tile_side(scene: Scene, room: int, sizes: _Sizes) -> int:
    count = scene.steps + 1
    return max(24, min(sizes.tile, (room - (count - 1) * sizes.gap) // count))


# -------------------------------------------------------------------------------------------------- its parts


def _draw_head(canvas: Canvas, scene: Scene, moment: Moment, sizes: _Sizes, inner: int) -> None:
    (title,) = canvas.wrap(scene.title or ' ', inner, sizes.title, bold=True, lines=1) or [' ']
    y = sizes.margin + 0.5 * sizes.title
    canvas.text(title, y, sizes.margin, sizes.title, bold=True)
    y += round(0.8 * sizes.title) + 0.75 * sizes.text
    (status,) = canvas.wrap(moment.status or ' ', inner - sizes.text, sizes.text, moment.end, lines=1)
    x = sizes.margin
    if moment.end:  # a square: stopped
        canvas.fill(y - 0.35 * sizes.text, x, 0.7 * sizes.text, 0.7 * sizes.text, STOP)
        x += sizes.text
    canvas.text(status, y, x, sizes.text, STOP if moment.end else INK, bold=moment.end)


def _shown(moment: Moment) -> np.ndarray:
    return moment.seen if moment.field is None else moment.picture


def _field(moment: Moment, cell: tuple[int, int]) -> Window:
    """Where the frame that the recognizer is given is drawn, in whole pixels of the cell."""
    shown = _shown(moment).shape[:2]
    whole = moment.field or Window(0, 0, *shown)
    top, left, height, width = place_of(whole, Window(0, 0, *cell), (shown[0], shown[1]))
    top, left = max(0, top), max(0, left)
    return Window(top, left, min(height, cell[0] - top), min(width, cell[1] - left))


def _draw_frame(
    canvas: Canvas,
    scene: Scene,
    moment: Moment,
    y: int,
    x: int,
    cell: tuple[int, int],
    sizes: _Sizes,
    named: bool,
) -> None:
    inside = _field(moment, cell)
    canvas.paste(frame_as_seen(scene, moment, cell), y, x)
    if (inside.height, inside.width) != cell and moment.watched:
        canvas.outline(y + inside.top, x + inside.left, inside.height, inside.width, 'white', 1.5)
    for look, window in enumerate(moment.windows):
        if window is not None:
            place = place_of(window, inside, moment.seen.shape[:2])
            _outline(canvas, place, look, y, x, min(sizes.small, cell[0] // 12))
    if not moment.watched:
        words = 'not looked at'
        size = min(1.6 * sizes.text, cell[1] / 9)
        wide = canvas.width_of(words, size, bold=True)
        canvas.fill(
            y + cell[0] / 2 - size, x + (cell[1] - wide) / 2 - size / 2, 2 * size, wide + size, 'white'
        )
        canvas.text(words, y + cell[0] / 2, x + cell[1] / 2, size, FAINT, True, 'center')
    if named:
        words, size = f'frame {moment.index}', sizes.small
        wide = canvas.width_of(words, size)
        canvas.fill(y + cell[0] - 1.3 * size, x, 1.3 * size, wide + size / 2, 'white')
        canvas.text(words, y + cell[0] - 0.65 * size, x + size / 4, size, FAINT)


def frame_as_seen(scene: Scene, moment: Moment, cell: tuple[int, int]) -> np.ndarray:
    """The frame in ``cell`` (height, width) pixels: dark where the recognizer is given nothing, as coarse as
    its glance where it is, and sharp where it looked; grey where it did not look at all."""
    inside = _field(moment, cell)
    frame = resize(_shown(moment), *cell)
    grey = frame.mean(-1, keepdims=True)
    if not moment.watched:
        return np.broadcast_to((0.35 * grey + 150).clip(0, 255), frame.shape).astype(np.uint8)
    frame = (0.30 * frame + 0.12 * grey).astype(np.uint8)
    top, left, high, wide = (int(x) for x in (inside.top, inside.left, inside.height, inside.width))
    glance = as_glanced(moment.seen[None], scene.glance_size, scene.glance_resize)[0]
    frame[top : top + high, left : left + wide] = _enlarged(glance, (high, wide))
    for window in moment.windows:
        if window is not None:
            y, x, h, w = place_of(window, inside, moment.seen.shape[:2])
            frame[y : y + h, x : x + w] = cut(moment.seen, window, (h, w))[: cell[0] - y, : cell[1] - x]
    return frame


def _enlarged(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    smaller = size[0] * size[1] < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (size[1], size[0]), interpolation=how))


def _outline(canvas: Canvas, place: tuple[int, int, int, int], look: int, y: int, x: int, small: int) -> None:
    top, left, high, wide = place
    thick = max(1.5, small / 5)
    canvas.outline(y + top, x + left, high, wide, 'black', thick + 2)
    canvas.outline(y + top, x + left, high, wide, _colour(look), thick)
    side = 1.25 * small
    # above the patch, where there is room; side by side where two looks take the same place
    tag_y = y + (top - side if top >= side else top)
    tag_x = x + left + max(0, min(side * look, wide - side))
    canvas.fill(tag_y, tag_x, side, side, _colour(look))
    canvas.text(str(look + 1), tag_y + side / 2, tag_x + side / 2, 1.1 * small, _ink(look), True, 'center')


def _draw_legend(canvas: Canvas, scene: Scene, moment: Moment, y: float, room: float, sizes: _Sizes) -> None:
    parts = []
    if scene.glance_size is not None:
        parts.append(f'blurred: the glance, {scene.glance_size[1]}×{scene.glance_size[0]} pixels')
    if scene.steps:
        parts.append('sharp: the looks')
    field = moment.field
    if field is not None and (round(field.height), round(field.width)) != moment.picture.shape[:2]:
        parts.append('dark: never given to it')
    words = ' · '.join(parts) or 'every frame is watched whole'
    for number, line in enumerate(canvas.wrap(words, room, sizes.small, lines=2)):
        canvas.text(line, y + (0.8 + 1.15 * number) * sizes.small, sizes.margin, sizes.small, FAINT)


def _draw_tiles(
    canvas: Canvas, scene: Scene, moment: Moment, y: int, x: int, heading: str, side: int, sizes: _Sizes
) -> None:
    """The glance and the patches side by side."""
    canvas.text(heading, y + 0.6 * sizes.text, x, sizes.text, bold=True)
    y += round(1.5 * sizes.text)
    glance = as_glanced(moment.seen[None], scene.glance_size, scene.glance_resize)[0]
    step = side + sizes.gap
    for number in range(scene.steps + 1):
        left = x + number * step
        taken = moment.watched and moment.looks >= number
        window = moment.windows[number - 1] if number and taken else None
        if taken and (not number or window is not None):
            if number and window is not None:
                size = fit_inside((round(window.height), round(window.width)), (side, side))
                tile = cut(moment.seen, window, size)
            else:
                size = fit_inside((glance.shape[0], glance.shape[1]), (side, side))
                tile = resize(glance, *size, blocky=True)
            dy, dx = (side - size[0]) // 2, (side - size[1]) // 2
            canvas.paste(tile, y + dy, left + dx)
            colour = _colour(number - 1) if number else GLANCE
            canvas.outline(y + dy, left + dx, *size, colour, max(3, sizes.small // 5))
        else:
            gone = moment.skipped[moment.place]
            canvas.fill(y, left, side, side, PALE if gone else 'white')
            canvas.outline(y, left, side, side, PALE, 2, dashed=not gone)
            words = 'skipped' if gone else 'to come'
            canvas.text(
                words, y + side / 2, left + side / 2, min(sizes.small, side / 5), FAINT, align='center'
            )
        name = f'look {number}' if number else 'whole frame' if scene.glance_size is None else 'glance'
        middle = left + side / 2
        fitting = min(sizes.small, side / 5.5)
        canvas.text(name, y + side + 0.75 * sizes.small, middle, fitting, INK, align='center')


def _draw_prediction(
    canvas: Canvas, scene: Scene, moment: Moment, y: int, x: int, room: int, sizes: _Sizes
) -> None:
    canvas.text('It says', y + 0.6 * sizes.text, x, sizes.text, bold=True)
    y += round(1.5 * sizes.text)
    if moment.probabilities is None:
        canvas.text('nothing yet', y + 0.6 * sizes.small, x, sizes.small, FAINT)
        return
    best = np.argsort(-moment.probabilities, kind='stable')[: sizes.bars]
    line, lines = _line_of_a_class(scene, sizes, room), _name_lines(scene, sizes, room)
    share = canvas.width_of('100 %', sizes.small, True) + sizes.gap
    for number, c in enumerate(best.tolist()):
        likely, first = float(moment.probabilities[c]), number == 0
        named = canvas.wrap(scene.classes[c], room, sizes.small, first, lines=lines)
        for row, words in enumerate(named):
            ink = INK if first else FAINT
            canvas.text(words, y + (0.5 + 1.1 * row) * sizes.small, x, sizes.small, ink, first)
        bar_y, high = y + (0.1 + 1.1 * len(named)) * sizes.small, 0.65 * sizes.small
        canvas.fill(bar_y, x, high, room - share, '#eef1f4')
        canvas.fill(bar_y, x, high, max(1.0, (room - share) * likely), SO_FAR if first else '#8c959f')
        percent = f'{100 * likely:.0f} %'
        canvas.text(percent, bar_y + high / 2, x + room, sizes.small, INK, first, align='right')
        y += line


def _draw_costs(canvas: Canvas, costs: Spent, y: int, x: int, room: int, sizes: _Sizes) -> None:
    canvas.text('Cost in GMACs', y + 0.6 * sizes.text, x, sizes.text, bold=True)
    known = costs.whole is not None
    against, named = (costs.whole, 'whole frames') if known else (costs.all_looks, 'all looks')
    share = f'{_percent(costs.so_far, against)} of {named}' if against else ''
    offset = canvas.width_of('Cost in GMACs  ', sizes.text, True)
    for words in canvas.wrap(share, room - offset, sizes.small, lines=1):
        canvas.text(words, y + 0.65 * sizes.text, x + room, sizes.small, FAINT, align='right')
    y += round(1.5 * sizes.text)
    rows = [('so far', costs.so_far, SO_FAR), ('all looks', costs.all_looks, '#8c959f')]
    if costs.whole is not None:
        rows.append(('every frame whole', costs.whole, '#c4cad1'))
    most = max(max(value for _, value, _ in rows), 1e-12)
    names = canvas.width_of('every frame whole', sizes.small) + sizes.gap
    share_x = canvas.width_of('0.00000', sizes.small) + sizes.gap
    long = max(10.0, room - names - share_x)
    for name, value, colour in rows:
        middle = y + 0.6 * sizes.small
        canvas.text(name, middle, x, sizes.small, INK, bold=name == 'so far')
        canvas.fill(
            y + 0.2 * sizes.small, x + names, 0.85 * sizes.small, max(1.0, long * value / most), colour
        )
        canvas.text(f'{value:.3g}', middle, x + room, sizes.small, INK, bold=name == 'so far', align='right')
        y += round(1.45 * sizes.small)


def _percent(part: float, whole: float) -> str:
    share = 100 * part / whole
    return f'{share:.0f} %' if share >= 10 else f'{share:.1f} %'


def _draw_table(
    canvas: Canvas, scene: Scene, moment: Moment, y: int, x: int, room: int, sizes: _Sizes
) -> None:
    """Which look was taken at which frame: a column a frame, a row a look."""
    line = round(1.25 * sizes.small)
    names = canvas.width_of('look 8', sizes.small) + sizes.gap
    first = max(0, min(moment.place - COLUMNS // 2, len(moment.taken) - COLUMNS))
    shown = range(first, min(len(moment.taken), first + COLUMNS))
    wide = min(2.2 * line, (room - names) / len(shown))
    high = line - max(2, line // 8)
    for number in range(scene.steps + 1):
        name = f'look {number}' if number else 'whole' if scene.glance_size is None else 'glance'
        canvas.text(name, y + high / 2, x, sizes.small, FAINT)
        for column, place in enumerate(shown):
            left = x + names + column * wide
            colour = _colour(number - 1) if number else GLANCE
            if moment.taken[place] >= number:
                canvas.fill(y, left, high, wide - 2, colour)
            elif moment.skipped[place]:
                canvas.fill(y, left, high, wide - 2, PALE)
                size = min(0.8 * high, wide)
                canvas.text('×', y + high / 2, left + wide / 2 - 1, size, '#8c959f', align='center')
            else:
                canvas.outline(y + 1, left + 1, high - 2, wide - 4, PALE, 1.5)
        y += line
    if not moment.end:
        left = x + names + (moment.place - first) * wide
        whole = line * (scene.steps + 1)
        canvas.outline(y - whole - 2, left - 2, whole + 1, wide + 1, INK, 2)
    taken = sum(max(0, count + 1) for count in moment.taken)
    possible = len(moment.taken) * (scene.steps + 1)
    words = 'coloured: looked at, grey ×: skipped, white: to come'
    if moment.end:
        words = f'{taken} of {possible} looks taken, {possible - taken} skipped (grey ×)'
    for text in canvas.wrap(words, room, sizes.small, lines=1):
        canvas.text(text, y + 0.65 * sizes.small, x, sizes.small, FAINT)


def _colour(look: int) -> str:
    return LOOK_COLOURS[look % len(LOOK_COLOURS)]


def _ink(look: int) -> str:
    """Of words on that colour: white on the dark ones."""
    red, green, blue = (int(_colour(look)[i : i + 2], 16) for i in (1, 3, 5))
    return 'white' if 0.3 * red + 0.59 * green + 0.11 * blue < 110 else INK
