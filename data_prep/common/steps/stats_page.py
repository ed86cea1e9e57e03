"""The page stats.html: one file that opens from disk, asks no network, and fits a phone."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterator, Sequence

import numpy as np

from data_prep.common.reporting import REMEDIES
from gfvideo.data.manifest import ClipRow, Manifest, read_table

__all__ = ['sampled_rows', 'stats_page']

STYLE = """
:root{--paper:#fff;--panel:#f6f8fa;--ink:#1f2328;--faint:#59636e;--rule:#d1d9e0;--bar:#7fb2d6}
@media (prefers-color-scheme:dark){:root{--paper:#12161c;--panel:#1b2129;--ink:#e6e9ed;--faint:#9da7b3;
--rule:#353d48;--bar:#2f6f9c}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;max-width:66rem;margin:0 auto;padding:1rem;background:var(--paper);
color:var(--ink)}
h1,h2,h3,p,li,figcaption,td:first-child{overflow-wrap:anywhere}
td:not(:first-child){white-space:nowrap}
h2{font-size:1.2rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.2rem 0 .2rem}
code{font-size:.86em;color:var(--faint);overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;margin:.4rem 0;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .9rem .25rem 0;text-align:right;border-bottom:1px solid var(--rule);vertical-align:top}
th{color:var(--faint);font-weight:600;font-size:.9em}
td:first-child,th:first-child{text-align:left;min-width:5rem}
.classes table{width:100%}.classes td:nth-child(3){width:35%;text-align:left}
.classes i{display:block;height:.7em;margin-top:.4em;background:var(--bar);border-radius:2px;min-width:1px}
.tall{max-height:34rem;overflow:auto;border:1px solid var(--rule);border-radius:6px;padding:0 .7rem}
.charts{display:flex;flex-wrap:wrap;gap:1rem}
.frames{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr))}
.charts figure{flex:1 1 20rem;margin:0;min-width:0}.charts svg{width:100%;height:auto;color:var(--ink)}
.frames figure{margin:0;min-width:0}
.frames img{width:100%;display:block;border-radius:4px;background:var(--panel)}
figcaption{font-size:.82em;color:var(--faint);line-height:1.3;margin-top:.25rem}
@media (max-width:480px){td,th{padding-right:.45rem;font-size:.92em}
td:first-child,th:first-child{min-width:2.6rem}}
.failed li{margin:.2rem 0}.remedy{color:var(--faint)}
"""
SAMPLES = 24
"""Frames of a split that are shown."""
SHORT_SIDE = 160
INK = '#010203'  # becomes the colour of the text


def stats_page(manifest: Manifest, numbers: dict) -> str:
    """The page.

    Args:
        numbers: what :func:`~data_prep.common.steps.stats.collect` and ``disk_used`` tell.
    """
    splits = numbers['splits']
    overview = [('split', 'clips', 'listed', 'share', 'frames: least', '25 %', 'median', '75 %', 'most')]
    overview += [
        (split, info['present'], info['official'], _share(info), *info['frames'])
        for split, info in splits.items()
    ]
    parts = [
        f'<h1>{html.escape(manifest.name)}</h1><p>Version {html.escape(manifest.version)},'
        f' {len(manifest.classes):,} classes in the order of “{html.escape(manifest.label_order)}”.<br>'
        f'Content <code>{manifest.content_hash}</code><br>Made <code>{manifest.made_hash}</code></p>',
        _table(overview),
        _charts(manifest, numbers),
        *(_frames(manifest, split) for split in splits),
        '<h2>Disk</h2>',
        _table(list(_disk(numbers['bytes']))),
        '<h2>Failed</h2>',
        _failed(numbers),
    ]
    parts += [
        f'<h2>{title}</h2>{_table([(head, "clips"), *_first(numbers[key])])}'
        for title, key, head in (
            ('Sizes', 'sizes', 'width x height'),
            ('Frames per second of the sources', 'source_rates', 'rate'),
            ('Codecs of the sources', 'source_codecs', 'codec'),
        )
    ]
    parts.append(_classes(manifest, splits))
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
        ' content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<title>{html.escape(manifest.name)}</title><style>{STYLE}</style></head><body>{"".join(parts)}'
        '</body></html>\n'
    )


# ----------------------------------------------------------------------------------------------------- tables


def _share(info: dict) -> str:
    return f'{100 * info["present"] / info["official"]:.1f} %' if info['official'] else ''


def _first(counts: dict[str, int], most: int = 12) -> list[tuple[str, int]]:
    rows = list(counts.items())
    return (
        rows
        if len(rows) <= most
        else [*rows[:most], (f'{len(rows) - most} others', sum(count for _, count in rows[most:]))]
    )


def _table(rows: Sequence[Sequence[object]]) -> str:
    def line(row: Sequence[object], cell: str) -> str:
        return '<tr>' + ''.join(f'<{cell}>{html.escape(_text(value))}</{cell}>' for value in row) + '</tr>'

    return (
        f'<div class="wide"><table>{line(rows[0], "th")}{"".join(line(row, "td") for row in rows[1:])}'
        '</table></div>'
    )


def _text(value: object) -> str:
    return '' if value is None else f'{value:,}' if isinstance(value, int) else str(value)


def _disk(used: dict[str, dict[str, int]]) -> Iterator[tuple[object, ...]]:
    """The rows of the table of bytes: by split, and in all."""
    yield 'split', 'clips', 'sources', 'as prepared', 'share of the sources', 'a clip'
    rows = list(used.items())
    if len(rows) > 1:
        total = {name: sum(info[name] for _, info in rows) for name in ('clips', 'sources', 'prepared')}
        rows.append(('all', total))
    for split, info in rows:
        share = f'{100 * info["prepared"] / info["sources"]:.0f} %' if info['sources'] else ''
        yield (
            split,
            info['clips'],
            _size(info['sources']),
            _size(info['prepared']),
            share,
            _size(info['prepared'] / max(1, info['clips'])),
        )


def _size(count: float) -> str:
    """Bytes in the largest unit of which there is one."""
    for unit in ('B', 'kB', 'MB', 'GB'):
        if count < 1000:
            return f'{count:.0f} B' if unit == 'B' else f'{count:.3g} {unit}'
        count /= 1000
    return f'{count:.3g} TB'


def _failed(numbers: dict) -> str:
    if not numbers['failed']:
        return '<p>Every listed clip can be used.</p>'
    rows = [('split', 'reason', 'clips')]
    rows += [(row['split'], row['reason'], row['clips']) for row in numbers['failed']]
    parts = [_table(rows)]
    for reason, examples in numbers['failed_examples'].items():
        count = sum(row['clips'] for row in numbers['failed'] if row['reason'] == reason)
        items = ''.join(
            f'<li>{html.escape(clip["id"])} <code>{html.escape(clip["split"])}'
            f' {html.escape(clip["detail"])}</code></li>'
            for clip in examples
        )
        more = (
            f'<li>and {count - len(examples):,} more, in failed.jsonl</li>' if count > len(examples) else ''
        )
        parts.append(
            f'<h3>{html.escape(reason)}</h3><p class="remedy">{html.escape(REMEDIES.get(reason, ""))}</p>'
            f'<ul class="failed">{items}{more}</ul>'
        )
    return ''.join(parts)


def _classes(manifest: Manifest, splits: dict) -> str:
    """All classes, those with most clips of the first split first."""
    counts = [info['clips_per_class'] for info in splits.values()]
    most = max(1, max(counts[0]))
    order = sorted(range(len(manifest.classes)), key=lambda number: (-counts[0][number], number))
    head = ''.join(f'<th>{html.escape(text)}</th>' for text in ('class', 'number', '', *splits))
    rows = ''.join(
        f'<tr><td>{html.escape(manifest.classes[number])}</td><td>{number}</td>'
        f'<td><i style="width:{100 * counts[0][number] / most:.1f}%"></i></td>'
        + ''.join(f'<td>{each[number]:,}</td>' for each in counts)
        + '</tr>'
        for number in order
    )
    return (
        f'<h2>Classes</h2><div class="classes tall"><table><thead><tr>{head}</tr></thead>'
        f'<tbody>{rows}</tbody></table></div>'
    )


# --------------------------------------------------------------------------------------------------- pictures


def sampled_rows(manifest: Manifest, split: str, most: int = SAMPLES) -> list[ClipRow]:
    """Clips of a split to show: of as many classes as there is room for, spread over them evenly, each the
    middle one of its class; clips without a label if there are no others."""
    table = read_table(manifest, split)
    labels = np.asarray(table.labels)
    present = np.unique(labels)
    chosen = present[np.unique(np.linspace(0, len(present) - 1, min(most, len(present))).round().astype(int))]
    places = [np.flatnonzero(labels == label) for label in chosen.tolist()]
    each = max(1, most // len(places))
    shown = [
        int(some[place])
        for some in places
        for place in np.unique(
            np.linspace(0, len(some) - 1, min(each, len(some)) + 2).round()[1:-1].astype(int)
        )
    ]
    return [table[place] for place in shown[:most]]


def _frames(manifest: Manifest, split: str) -> str:
    """The middle frames of some clips."""
    figures = []
    for row in sampled_rows(manifest, split):
        name = '' if row.label is None else manifest.classes[row.label]
        caption = f'{html.escape(name)}<br>{html.escape(row.id)}'
        figures.append(f'<figure>{_picture(manifest, row)}<figcaption>{caption}</figcaption></figure>')
    return f'<h2>Frames of {html.escape(split)}</h2><div class="frames">{"".join(figures)}</div>'


def _picture(manifest: Manifest, row: ClipRow) -> str:
    """The frame as an image inside the page; why there is none, if it cannot be read."""
    import cv2

    from gfvideo.data.readers import VideoError, open_video

    path = manifest.videos / row.path
    try:
        with open_video(str(path), template=manifest.frame_template, start=manifest.start_index) as video:
            [frame] = video.get_frames([(row.frames or 1) // 2])
    except (VideoError, IndexError, OSError) as error:
        return f'<p>{html.escape(str(error).replace(str(path), row.path))}</p>'
    height, width = frame.shape[:2]
    scale = min(1.0, SHORT_SIDE / min(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode('.jpg', cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 75])
    code = base64.b64encode(data.tobytes()).decode()
    return (
        f'<img loading="lazy" width="{size[0]}" height="{size[1]}" style="height:auto"'
        f' alt="{html.escape(row.id, quote=True)}" src="data:image/jpeg;base64,{code}">'
    )


def _charts(manifest: Manifest, numbers: dict) -> str:
    """Clips a class, sorted, and the lengths of all clips, as SVG that is the same in every run."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    lengths = {split: [row.frames or 0 for row in read_table(manifest, split)] for split in numbers['splits']}
    edges = np.histogram_bin_edges(np.concatenate(list(lengths.values())), 40)

    def drawn(number: int) -> str:
        settings = {name: INK for name in ('text.color', 'axes.edgecolor', 'axes.labelcolor')}
        settings |= {'xtick.color': INK, 'ytick.color': INK}
        settings |= {'svg.hashsalt': f'{manifest.hash}{number}', 'font.size': 11, 'svg.fonttype': 'none'}
        settings |= {'axes.spines.top': False, 'axes.spines.right': False}
        with matplotlib.rc_context(settings):
            figure, axes = pyplot.subplots(figsize=(4.8, 2.9), layout='constrained')
            for split, info in numbers['splits'].items():
                if number == 0:
                    axes.plot(
                        sorted(info['clips_per_class'], reverse=True), label=split, drawstyle='steps-post'
                    )
                else:
                    axes.hist(lengths[split], bins=edges, histtype='step', label=split)
            axes.set(xlabel=('classes, largest first', 'frames of a clip')[number], ylabel='clips')
            if number == 0:
                axes.set_ylim(0, None)
            for axis in (axes.xaxis, axes.yaxis):
                axis.get_major_locator().set_params(integer=True)
            axes.legend(frameon=False)
            text = io.StringIO()
            figure.savefig(
                text,
                format='svg',
                transparent=True,
                metadata={'Date': None, 'Creator': None},
            )
            pyplot.close(figure)
        svg = text.getvalue()[text.getvalue().index('<svg') :].replace(INK, 'currentColor')
        return re.sub(r'<metadata>.*?</metadata>', '', svg, flags=re.DOTALL)

    return f'<div class="charts"><figure>{drawn(0)}</figure><figure>{drawn(1)}</figure></div>'
