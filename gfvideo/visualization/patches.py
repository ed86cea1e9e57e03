"""Draw where a recognizer looked: the frames with the patches of each step, what each step saw, and what it
then said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ..evaluation import Box, Objects
from ..models.losses import CROSS_ENTROPY, probabilities_of
from ..ops import patch_corners, resize_frames
from ..structures import ClipSample
from .canvas import Canvas, fit_inside, resize

__all__ = [
    'LOOK_COLOURS',
    'NamedScore',
    'draw_looks',
    'draw_sample',
    'patch_windows',
    'sheet',
    'step_predictions',
]

NamedScore = tuple[str, float]
"""Class name and its probability."""

LOOK_COLOURS = ('#E69F00', '#56B4E9', '#CC79A7', '#F0E442', '#8C510A', '#0072B2')
"""Colour of look 1, 2, ... (Okabe and Ito's, told apart by colour-blind readers); no green and no red, which
say right and wrong."""

RIGHT, WRONG, INK, FAINT = '#1a7f37', '#cf222e', '#1f2328', '#59636e'
# pixels: outer margin, between images, width of the text column, height of a text line
MARGIN, GAP, LABELS, LINE = 18, 8, 320, 23


@dataclass
class _Row:
    """One line of the picture: T images of equal size and what is written to their left."""

    heading: str
    images: list[np.ndarray]
    colour: str | None = None
    prediction: NamedScore | None = None
    notes: tuple[str, ...] = ()
    look: int | None = None  # whose patches are drawn on the images


def draw_looks(
    frames: np.ndarray,
    centres: Tensor | np.ndarray | None,
    patch_size: tuple[int, int] | None,
    step_predictions: Sequence[NamedScore | None],
    *,
    title: str = '',
    label: str | None = None,
    glance_size: tuple[int, int] | None = None,
    frame_indices: Sequence[int] | None = None,
    objects: Objects | None = None,
    cell_width: int | None = None,
    window_sizes: Tensor | np.ndarray | None = None,
    promises: Tensor | np.ndarray | None = None,
) -> np.ndarray:
    """Draw the looks at one clip.

    A row of the T frames with the patches of each look in its own colour; a row of the frames as small as the
    glance sees them; a row of the patches of each look, over which, if they are given, stands what the policy
    expected of a look at each place. Left of each row stands what the recognizer said
    after it: green and a tick when it is ``label``, red and a cross when it is not.

    Args:
        frames: ``(T, H, W, 3)`` uint8 RGB, the frames that the patches were cut from.
        centres: ``(S, T, 2)``, (y, x) in [0, 1], tensor or array; None for a recognizer that does not focus.
        patch_size: (height, width) in pixels of ``frames``; ignored without centres, and may be None then.
        step_predictions: class name and probability after each step: S+1, or one when there are no centres;
            None where nobody knows.
        title: written over the picture, e.g. the name of the video.
        label: name of the true class, None when it is unknown.
        glance_size: (height, width) the glance sees; None leaves its row out.
        frame_indices: T frame numbers, written over the frames.
        objects: frame number -> name -> box in pixels of ``frames``, drawn dashed; needs ``frame_indices``.
        cell_width: width in pixels at which a frame is drawn; by default what makes T of them about 1440
            wide.
        window_sizes: ``(S, T, 2)`` (height, width) in pixels of what was cut, where the policy chose that
            too; None for ``patch_size``.
        promises: ``(S, T, h, w)``, what a look at each cell of a map of the frame promised before each look;
            one scale of colours serves all of them.

    Returns:
        The picture, ``(height, width, 3)`` uint8 RGB.

    Raises:
        ValueError: if shapes disagree, or there are centres and no patch size.
    """
    T, H, W = _check_frames(frames)
    places = np.zeros((0, T, 2)) if centres is None else np.asarray(centres, dtype=np.float32)
    if places.ndim != 3 or places.shape[1:] != (T, 2):
        raise ValueError(f'centres {places.shape} must be (S, T, 2) with T={T}, the number of frames')
    S = len(places)
    if len(step_predictions) != S + 1:
        raise ValueError(
            f'{len(step_predictions)} predictions for {S} looks: give one after the glance and one after each'
            f' look, {S + 1}'
        )
    boxes: list[list[Box]] = [[]] * T
    if objects:
        if frame_indices is None:
            raise ValueError('objects are given by frame number: give frame_indices too')
        boxes = [list(objects.get(int(frame), {}).values()) for frame in frame_indices]
    if not S:
        patch_size = (H, W)
    elif patch_size is None:
        raise ValueError(f'there are centres of {S} looks: give the patch_size, too')

    windows = patch_windows(places, (H, W), patch_size, window_sizes)  # (S, T, 4)
    width = cell_width or min(240, max(100, 1440 // T))
    cell = fit_inside((H, W), (width * 3 // 2, width))
    maps = None if promises is None else np.asarray(promises, dtype=np.float32)
    if maps is not None and (maps.ndim != 4 or maps.shape[:2] != (S, T)):
        raise ValueError(f'promises {maps.shape} must be (S, T, h, w) with S={S} looks and T={T} frames')
    rows = _rows(frames, windows, patch_size, step_predictions, glance_size, cell, maps)
    if any(boxes):
        rows[0].notes += ('dashed: the objects (not told to the network)',)

    total_width = 2 * MARGIN + LABELS + T * (cell[1] + GAP)
    measure = Canvas(1, total_width)
    head = measure.wrap(title, total_width - 2 * MARGIN, size=22, bold=True, lines=2)
    true = (
        measure.wrap(f'true class: {label}', total_width - 2 * MARGIN, size=18, lines=2)
        if label is not None
        else []
    )
    top = MARGIN + 30 * len(head) + 26 * len(true) + GAP
    texts = [_texts(row, label, measure) for row in rows]
    heights = [max(row.images[0].shape[0], LINE * len(lines)) for row, lines in zip(rows, texts)]
    canvas = Canvas(top + LINE + sum(heights) + 2 * GAP * (len(rows) - 1) + MARGIN, total_width)

    for number, words in enumerate(head):
        canvas.text(words, MARGIN + 30 * number + 12, MARGIN, size=22, bold=True)
    for number, words in enumerate(true):
        canvas.text(words, MARGIN + 30 * len(head) + 26 * number + 10, MARGIN, size=18)
    for t in range(T):
        name = f't = {t}' if frame_indices is None else f'frame {int(frame_indices[t])}'
        canvas.text(
            name, top + LINE / 2 - 2, _left(t, cell) + cell[1] / 2, size=15, colour=FAINT, align='center'
        )
    y = top + LINE
    for number, (row, lines, height) in enumerate(zip(rows, texts, heights)):
        _draw_row(canvas, row, lines, y, cell)
        if number == 0:
            _draw_boxes(canvas, boxes, (H, W), y, cell)
            _draw_patches(canvas, windows, (H, W), y, cell)
        elif row.look is not None:
            _draw_boxes(canvas, boxes, (H, W), y, cell)
            _draw_patches(canvas, windows, (H, W), y, cell, only=row.look)
        y += height + 2 * GAP
    return canvas.render()


def draw_sample(
    inputs: Tensor,
    sample: ClipSample,
    classes: Sequence[str] | None = None,
    *,
    patch_size: tuple[int, int] | None = None,
    glance_size: tuple[int, int] | None = None,
    objects: Objects | None = None,
    title: str | None = None,
    promises: Tensor | None = None,
    loss: str = CROSS_ENTROPY,
) -> np.ndarray:
    """Draw the looks at one recognized clip; :func:`draw_looks` with what a :class:`ClipSample` holds.

    Of several views the first is drawn; what is said after each step is then the opinion of all views, and
    the title says so. Of a clip that left early (``exit``) the looks that it took are drawn, of a stream the
    frames that were read, with what was said in the end; the title says when that was.

    Args:
        inputs: ``(T, 3, H, W)`` or ``(V, T, 3, H, W)`` uint8 RGB, what the recognizer was given.
        sample: its prediction: ``step_logits (S+1, C)``, or of early exit ``logits (C,)``, ``exit`` and, of a
            stream, ``looks (T,)``; ``centres (S, T, 2)`` or ``(V, S, T, 2)`` if it focused, ``gt_label`` if
            known.
        classes: C class names; None names them by number.
        patch_size: (height, width) in pixels, needed when the recognizer focused.
        glance_size: (height, width) the glance sees; None leaves its row out.
        objects: frame number -> name -> box in pixels of ``inputs``.
        title: the video id by default.
        promises: ``(S, T, h, w)`` what a look at each place promised, of the first view.
        loss: of the recognizer, which says what its logits mean.

    Returns:
        The picture, ``(height, width, 3)`` uint8 RGB.
    """
    step_logits = sample.get('step_logits')
    early = step_logits is None
    step_logits = sample.logits[None] if step_logits is None else step_logits
    C = step_logits.shape[-1]
    names = [f'class {number}' for number in range(C)] if classes is None else classes
    said: list[NamedScore | None] = [*step_predictions(step_logits, names, loss)]
    centres = sample.get('centres')
    indices = sample.get('frame_indices')
    title = str(sample.get('video_id', '')) if title is None else title
    if inputs.ndim == 5:
        title += f' (view 1 of {len(inputs)}; the predictions are those of all views)'
        inputs = inputs[0]  # (T, 3, H, W)
        centres = centres[0] if centres is not None and centres.ndim == 4 else centres
    label, windows = sample.get('gt_label'), sample.get('window_sizes')
    windows = None if windows is None else windows.cpu()
    indices = None if indices is None else indices[: len(inputs)]
    if early:
        inputs, centres, told = _until_exit(inputs, centres, sample)
        title += f' ({told})' if told else ''
        indices = None if indices is None else indices[: len(inputs)]
        said = [*(None for _ in range(0 if centres is None else len(centres))), *said]
    elif centres is not None and centres.isnan().any():
        focused = (~centres.isnan().any(-1).all(0)).nonzero().flatten().cpu()  # frames with a look at least
        title += f' ({len(focused)} of {len(inputs)} frames, those that were focused on)'
        inputs, centres = inputs[focused.to(inputs.device)], centres[:, focused.to(centres.device)]
        indices = None if indices is None else [indices[t] for t in focused.tolist()]
        windows = None if windows is None else windows[:, focused]
        promises = None if promises is None else promises[:, focused.to(promises.device)]
    return draw_looks(
        inputs.permute(0, 2, 3, 1).cpu().numpy(),
        None if centres is None else centres.cpu(),
        patch_size,
        said,
        title=title,
        label=None if label is None else names[int(label)],
        glance_size=glance_size,
        frame_indices=indices,
        objects=objects,
        window_sizes=windows,
        promises=None if promises is None else promises.cpu(),
    )


def _until_exit(
    inputs: Tensor, centres: Tensor | None, sample: ClipSample
) -> tuple[Tensor, Tensor | None, str]:
    """The frames and the looks ``(S, T, 2)`` that were taken before an exit, and in words when that was."""
    exit_at, looks, T = int(sample.exit), sample.get('looks'), len(inputs)
    if looks is not None and looks.ndim:  # of a stream, by frame
        read = None if centres is None else centres[:, : exit_at + 1]
        return inputs[: exit_at + 1], read, f'stopped after frame {exit_at + 1} of {T}'
    S = 0 if centres is None else len(centres)
    told = f'left after {f"look {exit_at}" if exit_at else "the glance"} of {S} looks' if S else ''
    return inputs, None if centres is None or not exit_at else centres[:exit_at], told


def step_predictions(
    step_logits: Tensor, classes: Sequence[str], loss: str = CROSS_ENTROPY
) -> list[NamedScore]:
    """The best class after each step and its probability, from ``(S+1, C)`` logits of a recognizer that
    learned by ``loss``."""
    if step_logits.shape[-1] != len(classes):
        raise ValueError(
            f'{step_logits.shape[-1]} logits for {len(classes)} class names; are the names those of the'
            ' dataset that the recognizer was trained on?'
        )
    probabilities, best = probabilities_of(step_logits, loss).max(-1)
    return [(classes[c], p) for c, p in zip(best.tolist(), probabilities.tolist())]


def sheet(pictures: Sequence[np.ndarray], columns: int = 1, gap: int = 24) -> np.ndarray:
    """Put pictures of any size under each other, ``columns`` to a line, on white.

    Args:
        pictures: ``(h, w, 3)`` uint8 RGB each.
        columns: how many stand in one line.
        gap: pixels between them.

    Returns:
        ``(height, width, 3)`` uint8 RGB.
    """
    if not pictures or columns < 1:
        raise ValueError(f'{len(pictures)} pictures in {columns} columns: give at least one of each')
    lines = [pictures[first : first + columns] for first in range(0, len(pictures), columns)]
    widths = [max(line[c].shape[1] for line in lines if c < len(line)) for c in range(len(lines[0]))]
    heights = [max(picture.shape[0] for picture in line) for line in lines]
    whole = np.full(
        (sum(heights) + gap * (len(heights) - 1), sum(widths) + gap * (len(widths) - 1), 3),
        255,
        dtype=np.uint8,
    )
    for row, line in enumerate(lines):
        y = sum(heights[:row]) + gap * row
        for column, picture in enumerate(line):
            x = sum(widths[:column]) + gap * column
            whole[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return whole


def _check_frames(frames: np.ndarray) -> tuple[int, int, int]:
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f'frames {frames.shape} of {frames.dtype} must be (T, H, W, 3) uint8 with T >= 1')
    return frames.shape[:3]


def patch_windows(
    centres: np.ndarray,
    frame_size: tuple[int, int],
    patch_size: tuple[int, int],
    window_sizes: Tensor | np.ndarray | None,
) -> np.ndarray:
    """What was cut, as ``(S, T, 4)`` int32 (top, left, height, width) in pixels.

    Args:
        centres: ``(S, T, 2)`` float32, (y, x) in [0, 1]; nan where no look was taken, whose height is 0.
        frame_size: (height, width) of the frames in pixels.
        patch_size: (height, width) in pixels.
        window_sizes: ``(S, T, 2)`` (height, width) of what was cut, where the policy chose that too; None
            for ``patch_size``.

    Raises:
        ValueError: if the patch is larger than the frame.
    """
    taken = ~np.isnan(centres).any(-1)  # (S, T)
    places = torch.from_numpy(np.nan_to_num(centres))
    if window_sizes is None:
        corners = patch_corners(places, frame_size, patch_size).floor()
        sizes = torch.tensor(patch_size).expand_as(corners)
    else:
        sizes = torch.as_tensor(np.nan_to_num(np.asarray(window_sizes, dtype=np.float32)))
        corners = (places * (torch.tensor(frame_size) - sizes)).round()
    windows = torch.cat([corners, sizes.round()], dim=-1).int().numpy()
    windows[~taken] = 0
    return windows


def _as_glanced(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames (T, H, W, 3) uint8 as small as the glance reads them, resized as the recognizer does."""
    clip = rearrange(torch.from_numpy(frames), 't h w c -> 1 t c h w').float()
    small = resize_frames(clip, size).round().clamp(0, 255).byte()
    return rearrange(small, '1 t c h w -> t h w c').numpy()


def _rows(
    frames: np.ndarray,
    windows: np.ndarray,
    patch_size: tuple[int, int],
    predictions: Sequence[NamedScore | None],
    glance_size: tuple[int, int] | None,
    cell: tuple[int, int],
    promises: np.ndarray | None,
) -> list[_Row]:
    H, W = frames.shape[1:3]
    h, w = patch_size
    rows = [_Row(f'Frames, {W}×{H} pixels', [resize(frame, *cell) for frame in frames])]
    if glance_size is None:
        rows[0].prediction = predictions[0]
    else:
        small = [resize(frame, *cell, blocky=True) for frame in _as_glanced(frames, glance_size)]
        rows.append(
            _Row(f'Glance: frames at {glance_size[1]}×{glance_size[0]}', small, prediction=predictions[0])
        )
    # portrait frames: patches no higher than wide
    size = fit_inside((h, w), (min(cell[0], cell[1]), cell[1]))
    for look, places in enumerate(windows.tolist()):
        if promises is not None:
            least, most = float(promises.min()), float(promises.max())
            rows.append(
                _Row(
                    f'Worth of look {look + 1}, as expected',
                    [_over(frame, one, (least, most), cell) for frame, one in zip(frames, promises[look])],
                    notes=(f'dark {_plain(least)}, bright {_plain(most)}: value of a look there',),
                    look=look,
                )
            )
        cut = [
            (
                resize(frame[top : top + high, left : left + wide], *size)
                if high
                else np.full((*size, 3), 255, np.uint8)
            )
            for frame, (top, left, high, wide) in zip(frames, places)
        ]
        rows.append(
            _Row(
                f'Look {look + 1}: {w}×{h} patches',
                cut,
                colour=_colour(look),
                prediction=predictions[look + 1],
            )
        )
    return rows


def _plain(value: float) -> str:
    """With two places, and no sign before a zero."""
    return f'{round(value, 2) + 0.0:.2f}'


def _over(
    frame: np.ndarray, values: np.ndarray, limits: tuple[float, float], cell: tuple[int, int]
) -> np.ndarray:
    """A frame without its colours, in those of a map of values ``(h, w)`` between ``limits``."""
    low, high = limits
    shares = (values - low) / max(high - low, 1e-6)
    smooth = np.asarray(cv2.resize(shares, (cell[1], cell[0]), interpolation=cv2.INTER_LINEAR)).clip(0, 1)
    colours = cv2.applyColorMap((255 * smooth).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = resize(frame, *cell).mean(-1, keepdims=True)
    return (0.35 * grey + 0.65 * colours).astype(np.uint8)


def _texts(row: _Row, label: str | None, measure: Canvas) -> list[tuple[str, str, bool]]:
    """(words, colour, bold) of each line left of a row."""
    lines = [(row.heading, INK, True)]
    lines += [
        (words, FAINT, False) for note in row.notes for words in measure.wrap(note, LABELS - 30, size=15)
    ]
    if row.prediction is not None:
        name, probability = row.prediction
        verdict, colour = (
            ('', INK) if label is None else ('✓ right, ', RIGHT) if name == label else ('✗ wrong, ', WRONG)
        )
        lines += [(words, colour, False) for words in measure.wrap(name, LABELS - 30, size=17, lines=3)]
        lines.append((f'{verdict}{100 * probability:.0f} % sure', colour, False))
    return lines


def _draw_row(
    canvas: Canvas, row: _Row, lines: list[tuple[str, str, bool]], y: int, cell: tuple[int, int]
) -> None:
    indent = 24 if row.colour else 0
    if row.colour:
        canvas.fill(y + 3, MARGIN, 17, 17, row.colour)
    for number, (words, colour, bold) in enumerate(lines):
        canvas.text(
            words,
            y + LINE * number + 11,
            MARGIN + (indent if number == 0 else 0),
            size=15 if colour == FAINT else 17,
            colour=colour,
            bold=bold,
        )
    height, width = row.images[0].shape[:2]
    for t, image in enumerate(row.images):
        x = _left(t, cell) + (cell[1] - width) // 2
        canvas.paste(image, y, x)
        if row.colour:
            canvas.outline(y, x, height, width, row.colour, thickness=3)


def _draw_patches(
    canvas: Canvas,
    windows: np.ndarray,
    frame_size: tuple[int, int],
    y: int,
    cell: tuple[int, int],
    only: int | None = None,
) -> None:
    """Outline the patches of all looks, or of one."""
    scale_y, scale_x = cell[0] / frame_size[0], cell[1] / frame_size[1]
    for look, places in enumerate(windows.tolist()):
        if only not in (None, look):
            continue
        for t, (top, left, high, wide) in enumerate(places):
            if not high:
                continue
            place = (y + top * scale_y, _left(t, cell) + left * scale_x)
            size = high * scale_y, wide * scale_x
            canvas.outline(*place, *size, 'black', thickness=5)
            canvas.outline(*place, *size, _colour(look), thickness=3)
            # side by side where two looks take the same place
            tag = place[1] + max(0, min(14 * look, size[1] - 14))
            canvas.fill(place[0], tag, 17, 14, _colour(look))
            canvas.text(str(look + 1), place[0] + 8, tag + 7, size=15, bold=True, align='center')


def _draw_boxes(
    canvas: Canvas, boxes: Sequence[list[Box]], frame_size: tuple[int, int], y: int, cell: tuple[int, int]
) -> None:
    scale_y, scale_x = cell[0] / frame_size[0], cell[1] / frame_size[1]
    for t, (top, left, bottom, right) in ((t, box) for t, here in enumerate(boxes) for box in here):
        place = (
            y + top * scale_y,
            _left(t, cell) + left * scale_x,
            (bottom - top) * scale_y,
            (right - left) * scale_x,
        )
        canvas.outline(*place, 'black', thickness=3)
        canvas.outline(*place, 'white', thickness=2, dashed=True)


def _left(t: int, cell: tuple[int, int]) -> int:
    return MARGIN + LABELS + GAP + t * (cell[1] + GAP)


def _colour(look: int) -> str:
    return LOOK_COLOURS[look % len(LOOK_COLOURS)]
