"""The step stats: a page about a prepared dataset, its frames, clips a class, lengths, sizes, rates, disk,
and what failed -> stats.html and stats.json."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data_prep.common.records import Record, iter_records, read_lines
from data_prep.common.steps.index import index_rows
from data_prep.common.steps.stats_page import stats_page
from data_prep.common.workspace import PreparationError, Workspace
from gfvideo.data.manifest import Manifest, read_manifest, read_rows
from gfvideo.files import write_atomically

__all__ = ['collect', 'disk_used', 'write_stats']

logger = logging.getLogger('data_prep')
EXAMPLES = 5
"""Of each reason why clips failed."""


def collect(manifest: Manifest, failed: Iterable[Record], sources: Iterable[Record]) -> dict:
    """Numbers of the page.

    Returns:
        for every split: clips present and listed, clips a class, frames (least, quartiles, most); of all:
            counts of sizes, rates, codecs,
        failures by split and reason, and the first few of each reason.
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
    reasons, examples = Counter(), {}
    for record in failed:
        reasons[record['split'], record['reason']] += 1
        some = examples.setdefault(record['reason'], [])
        if len(some) < EXAMPLES:
            some.append({name: record[name] for name in ('split', 'id', 'detail')})
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
        'failed_examples': dict(sorted(examples.items())),
    }


def _most_common(counts: Counter) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def disk_used(space: Workspace, manifest: Manifest, root: Path) -> dict[str, dict[str, int]]:
    """Bytes of the clips in the manifest.

    Args:
        root: folder of the sources.

    Returns:
        split -> ``clips``, ``sources`` (the files that they were made of) and ``prepared``; sources that are
        not there any more count 0.
    """
    sources = {(row['split'], row['id']): row['path'] for row in index_rows(space)}
    used = {}
    for split in manifest.splits:
        before = after = 0
        for row in read_rows(manifest, split):
            after += _bytes_of(manifest.videos / row.path)
            before += _bytes_of(root / sources[split, row.id]) if (split, row.id) in sources else 0
        used[split] = {'clips': manifest.splits[split].present, 'sources': before, 'prepared': after}
    return used


def _bytes_of(path: Path) -> int:
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                return sum(entry.stat().st_size for entry in entries if entry.is_file())
        return path.stat().st_size
    except OSError:
        return 0


def write_stats(space: Workspace, root: Path) -> None:
    """Write ``stats.json`` and ``stats.html`` beside the manifest.

    Args:
        root: folder of the sources.

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
    numbers['bytes'] = disk_used(space, manifest, root)
    text = json.dumps(numbers, indent=1, ensure_ascii=False)
    write_atomically(space.out / 'stats.json', f'{text}\n'.encode())
    write_atomically(space.out / 'stats.html', stats_page(manifest, numbers).encode())
    logger.info('wrote %s', space.out / 'stats.html')
