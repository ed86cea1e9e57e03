"""The step stats: a page about a prepared dataset, clips a class, lengths, sizes, rates, and what failed ->
stats.html and stats.json."""

from __future__ import annotations

import html
import io
import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from data_prep.common.records import Record, iter_records, read_lines
from data_prep.common.workspace import PreparationError, Workspace
from gfvideo.data.manifest import Manifest, read_manifest, read_rows
from gfvideo.files import write_atomically

__all__ = ['collect', 'write_stats']

logger = logging.getLogger('data_prep')

STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;
 padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.6rem 0}
td,th{padding:.2rem .8rem .2rem 0;text-align:right;border-bottom:1px
 solid #ddd}
td:first-child,th:first-child{text-align:left}
code{color:#666}
figure{margin:1rem 0}svg{max-width:100%;height:auto}"""
SHOWN_CLASSES = 10


def collect(manifest: Manifest, failed: Iterable[Record], sources: Iterable[Record]) -> dict:
    """Numbers of the page.

    Returns:
        for every split: clips present and listed, clips a class, frames (least, quartiles, most); of all:
            counts of sizes, rates, codecs,
        failures by split and reason.
    """
    splits, sizes = {}, Counter()
    for split, info in manifest.splits.items():
        classes, frames = Counter(), []
        for row in read_rows(manifest, split):
            classes.update(row.all_labels or (None,))
            frames.append(row.frames or 0)
            sizes[f'{row.width}x{row.height}'] += 1
        splits[split] = {
            'present': info.present,
            'official': info.official,
            'labelled': info.present - classes[None],
            'frames': [int(value) for value in np.percentile(frames, (0, 25, 50, 75, 100))],
            'clips_per_class': [classes[number] for number in range(len(manifest.classes))],
        }
    rates, codecs = Counter(), Counter()
    for record in sources:
        if record['reason'] is None:
            rates[f'{record["rate"]:g}'] += 1
            codecs[record['codec'] or 'images'] += 1
    reasons = Counter((record['split'], record['reason']) for record in failed)
    return {
        'name': manifest.name,
        'version': manifest.version,
        'hash': manifest.hash,
        'content_hash': manifest.content_hash,
        'made_hash': manifest.made_hash,
        'splits': splits,
        'sizes': _most_common(sizes),
        'source_rates': _most_common(rates),
        'source_codecs': _most_common(codecs),
        'failed': [
            {'split': split, 'reason': reason, 'clips': count}
            for (split, reason), count in sorted(reasons.items())
        ],
    }


def _most_common(counts: Counter) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def write_stats(space: Workspace) -> None:
    """Write ``stats.json`` and ``stats.html`` beside the manifest.

    Raises:
        PreparationError: there is no manifest yet.
    """
    if not (space.out / 'dataset.json').is_file():
        raise PreparationError(f'{space.out / "dataset.json"} is missing; run the step lists first')
    manifest = read_manifest(space.out)
    failed = space.out / 'failed.jsonl'
    numbers = collect(
        manifest, read_lines(failed) if failed.is_file() else (), iter_records(space.records('verify'))
    )
    text = json.dumps(numbers, indent=1, ensure_ascii=False)
    write_atomically(space.out / 'stats.json', f'{text}\n'.encode())
    write_atomically(space.out / 'stats.html', _page(manifest, numbers).encode())
    logger.info('wrote %s', space.out / 'stats.html')


def _page(manifest: Manifest, numbers: dict) -> str:
    splits = numbers['splits']
    overview = [('split', 'clips', 'listed', 'share', 'frames: least', '25 %', 'median', '75 %', 'most')]
    overview += [
        (split, info['present'], info['official'], _share(info), *info['frames'])
        for split, info in splits.items()
    ]
    parts = [
        (
            f'<h1>{html.escape(manifest.name)}</h1><p>version {html.escape(manifest.version)},'
            f' {len(manifest.classes)} classes in the order of “{html.escape(manifest.label_order)}”, content'
            f' <code>{manifest.content_hash}</code>, made <code>{manifest.made_hash}</code></p>'
        ),
        _table(overview),
        f'<figure>{_charts(manifest, numbers)}</figure>',
        '<h2>Failed</h2>',
    ]
    failed = [('split', 'reason', 'clips')] + [
        (row['split'], row['reason'], row['clips']) for row in numbers['failed']
    ]
    parts.append(_table(failed) if len(failed) > 1 else '<p>Every listed clip can be used.</p>')
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
        '<!DOCTYPE html><html lang="en"><meta'
        f' charset="utf-8"><title>{html.escape(manifest.name)}</title><style>{STYLE}</style>'
        f'{"".join(parts)}</html>\n'
    )


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

    return f'<table>{line(rows[0], "th")}{"".join(line(row, "td") for row in rows[1:])}</table>'


def _text(value: object) -> str:
    return '' if value is None else f'{value:,}' if isinstance(value, int) else str(value)


def _classes(manifest: Manifest, splits: dict) -> str:
    """The largest and the smallest classes of the first split."""
    split, info = next(iter(splits.items()))
    order = sorted(
        range(len(manifest.classes)), key=lambda number: (-info['clips_per_class'][number], number)
    )
    few = order if len(order) <= 2 * SHOWN_CLASSES else [*order[:SHOWN_CLASSES], *order[-SHOWN_CLASSES:]]
    rows = [('class', 'number', *splits)]
    rows += [
        (manifest.classes[number], number, *(each['clips_per_class'][number] for each in splits.values()))
        for number in few
    ]
    title = 'Classes' if len(few) == len(order) else f'Largest and smallest classes of {split}'
    return f'<h2>{html.escape(title)}</h2>{_table(rows)}'


def _charts(manifest: Manifest, numbers: dict) -> str:
    """Clips a class, sorted, and the lengths of all clips, as SVG that is the same in every run."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    with matplotlib.rc_context(
        {
            'svg.hashsalt': manifest.content_hash,
            'font.size': 9,
            'axes.spines.top': False,
            'axes.spines.right': False,
        }
    ):
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(9.5, 2.8), layout='constrained')
        for split, info in numbers['splits'].items():
            left.plot(sorted(info['clips_per_class'], reverse=True), label=split, drawstyle='steps-post')
            frames = [row.frames or 0 for row in read_rows(manifest, split)]
            right.hist(frames, bins=40, histtype='step', label=split)
        left.set(xlabel='classes, largest first', ylabel='clips', ylim=(0, None))
        right.set(xlabel='frames of a clip', ylabel='clips')
        left.legend(frameon=False)
        text = io.StringIO()
        figure.savefig(text, format='svg', metadata={'Date': None, 'Creator': None})
        pyplot.close(figure)
    return text.getvalue()[text.getvalue().index('<svg') :]
