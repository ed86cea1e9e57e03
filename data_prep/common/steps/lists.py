"""The step lists: the usable clips -> OUT/dataset.json and <split>.jsonl, the others -> failed.jsonl, and
OUT/lists/ for other tools."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.common.archives import amount
from data_prep.common.list_forms import json_line, write_list_forms
from data_prep.common.records import Record, RecordTable, iter_records, size_in
from data_prep.common.reporting import report_failures
from data_prep.common.scanning import tell_left_out
from data_prep.common.steps.encode import FOLDERS, EncodeJob, encoded, output_of
from data_prep.common.steps.index import Annotation, index_rows, read_summary
from data_prep.common.steps.jobs import verdict_of
from data_prep.common.steps.pack import FOLDER as SHARDS_FOLDER
from data_prep.common.steps.pack import pack_clips
from data_prep.common.steps.recheck import write_sums
from data_prep.common.steps.verify import verified
from data_prep.common.workspace import PreparationError, Workspace
from gfvideo.data.manifest import ClipRow, Manifest, write_manifest
from gfvideo.files import write_atomically

__all__ = ['write_lists']

logger = logging.getLogger('data_prep')


def write_lists(
    space: Workspace,
    root: Path,
    annotation: Annotation,
    job: EncodeJob | None,
    min_frames: int,
    arguments: Mapping[str, object],
    made: Mapping[str, object] | None = None,
    shard_bytes: int | None = None,
) -> float:
    """Write the manifest, ``failed.jsonl`` and other tools' lists.

    Args:
        root: folder of the sources.
        job: what encodes the clips; None: they stay as they are.
        min_frames: clips with fewer cannot be used.
        arguments: those that the outcome depends on, for ``dataset.json``.
        made: how the clips were made, if not by ``job``.
        shard_bytes: pack the encoded clips in tar files of so many bytes; None: they stay as they are.

    Returns:
        The share of the listed clips that cannot be used.

    Raises:
        PreparationError: a clip has not been verified or encoded, or none can be used.
    """
    summary = read_summary(space)
    outcome = Outcome.of(space, job, min_frames)
    rows: dict[str, list[ClipRow]] = {split: [] for split in summary['official']}
    failed: list[Record] = []
    sums, versions, sizes = {}, set(), Counter()
    for row in index_rows(space):
        reason, detail, record = outcome.of_row(row)
        if reason is None:
            clip = outcome.clip_row(row, record)
            rows[row['split']].append(clip)
            sums[clip.path] = record.get('sha256', '')
            versions.add(record.get('ffmpeg', ''))
            if not row['again']:
                sizes += Counter(source=size_in(record['key']), encoded=record.get('bytes', 0))
        else:
            told = {name: row[name] for name in ('split', 'id', 'path')}
            failed.append({**told, 'reason': reason, 'detail': detail})
    share = len(failed) / max(1, sum(summary['official'].values()))
    failed += _not_unpacked(summary)
    write_atomically(space.out / 'failed.jsonl', (json_line(_in_utf8(record)) for record in failed))
    rows = _with_clips(rows, failed, root)
    folder = None if job is None else FOLDERS[job.to]
    if shard_bytes is not None:
        packed = pack_clips(space, space.out / FOLDERS['video'], rows, summary['classes'], shard_bytes)
        places = {row.path: place.path for split in rows for row, place in zip(rows[split], packed[split])}
        sums = {places[path]: value for path, value in sums.items() if path in places}
        rows, folder = packed, SHARDS_FOLDER
    write_sums(space.out, sums)
    ffmpeg = ', '.join(sorted(versions)) if job else None
    manifest = write_manifest(
        space.out,
        name=annotation.name,
        version=annotation.version,
        classes=summary['classes'],
        label_order=summary['label_order'],
        rows=rows,
        video_root=folder or _relative(root, space.out),
        official={split: summary['official'][split] for split in rows},
        frame_template=outcome.image_names[0],
        start_index=outcome.image_names[1],
        preparation={'ffmpeg': (made or {}).get('ffmpeg', ffmpeg), **arguments},
        made=made or ({'to': 'original'} if job is None else {**job.settings, 'ffmpeg': ffmpeg}),
    )
    write_list_forms(space.out / 'lists', manifest, {} if shard_bytes is not None else rows)
    if job is not None:
        before, after = sizes['source'], sizes['encoded']
        times = after / before if before else 0
        logger.info('%s of sources became %s of clips (%.2f times)', amount(before), amount(after), times)
    _report(manifest, failed, summary)
    return share


@dataclass(frozen=True)
class Outcome:
    """What became of the sources.

    Attributes:
        sources, outputs: records of what was verified and encoded; None: nothing is.
        image_names: form and first number of the images of folders.
        job, min_frames: see :func:`write_lists`.
    """

    sources: RecordTable
    outputs: RecordTable | None
    image_names: tuple[str, int]
    job: EncodeJob | None
    min_frames: int

    @classmethod
    def of(cls, space: Workspace, job: EncodeJob | None, min_frames: int) -> Outcome:
        outputs = None if job is None else encoded(space, job)
        names = OUR_IMAGES if job is not None else _image_names(space, min_frames)
        return cls(verified(space), outputs, names, job, min_frames)

    def of_row(self, row: Record) -> tuple[str | None, str, Record | None]:
        """Why a listed clip cannot be used, None if it can; more about it; the record that tells it."""
        if row['path'] is None:
            return row['reason'], row['detail'], None
        record = self._record(row)
        verdict = verdict_of(record)
        if verdict.reason is not None:
            return verdict.reason, verdict.detail, record
        if verdict.frames < self.min_frames:
            return 'too_short', f'{verdict.frames} frames', record
        names = verdict.template, verdict.start
        if verdict.template and names != self.image_names:
            one, others = (form.format(first) for form, first in (names, self.image_names))
            return 'missing_frames', f'its images are named {one!r}, others {others!r}', record
        return None, '', record

    def _record(self, row: Record) -> Record:
        """Of the encoded clip, or of a source that is not encoded."""
        record, step, how = self.sources.get(row['path']), 'verify', ''
        if record is not None and self.outputs is not None and self._is_usable(record):
            record, step, how = self.outputs.get(row['path']), self.job.step, ' with these arguments'
            record = record and self.job.told_now(record)
            if record and record['reason'] is None and record['recipe'] != self.job.recipe:
                record = None
        if record is None:
            raise PreparationError(
                f'{row["path"]} has no record of the step {step}{how}; run that step first (all shards of it)'
            )
        return record

    def _is_usable(self, record: Record) -> bool:
        return record['reason'] is None and record['frames'] >= self.min_frames

    def clip_row(self, row: Record, record: Record) -> ClipRow:
        """The manifest's row of a clip that can be used."""
        path, kind = row['path'], row['kind']
        if self.job is not None:
            path, kind = output_of(row['target'], self.job.to), self.job.to
        size = record['frames'], record['height'], record['width']
        more = tuple(row.get('labels', ())), row.get('start'), row.get('end')
        return ClipRow(row['id'], path, kind, row['label'], *size, *more)


OUR_IMAGES = '{:05d}.jpg', 1


def _image_names(space: Workspace, min_frames: int) -> tuple[str, int]:
    """Form and first number of the images of most folders."""
    counts = Counter(
        (record['template'], record['start'])
        for record in iter_records(space.records('verify'))
        if record['template'] and record['frames'] >= min_frames
    )
    return counts.most_common(1)[0][0] if counts else OUR_IMAGES


def _not_unpacked(summary: Record) -> list[Record]:
    return [
        {
            'split': '',
            'id': name,
            'path': None,
            'reason': 'unreadable',
            'detail': f'not unpacked: {why}; rename it in the archive, or prepare on another file system',
        }
        for name, why in summary['refused']
    ]


def _in_utf8(record: Record) -> Record:
    """The record with a name that is no text told in escapes."""
    return {
        name: value.encode(errors='backslashreplace').decode() if isinstance(value, str) else value
        for name, value in record.items()
    }


def _with_clips(
    rows: dict[str, list[ClipRow]], failed: Sequence[Record], root: Path
) -> dict[str, list[ClipRow]]:
    """The splits that have clips: a copy often lacks the test videos."""
    for split in (split for split, some in rows.items() if not some):
        first = next(
            (
                f'; the first that failed, {clip["id"]!r}: {clip["reason"]} ({clip["detail"]})'
                for clip in failed
                if clip['split'] == split
            ),
            '',
        )
        logger.warning(
            'no clip of split %r can be used, so the prepared dataset has no such split%s', split, first
        )
    if not any(rows.values()):
        raise PreparationError(
            f'no clip of any split can be used; is --videos right ({root})? failed.jsonl in --out lists the'
            ' reasons'
        )
    return {split: some for split, some in rows.items() if some}


def _relative(videos: Path, out: Path) -> str:
    """Relative when the videos lie inside the prepared folder, so that it can be moved; absolute
    otherwise."""
    videos, out = videos.resolve(), out.resolve()
    return videos.relative_to(out).as_posix() if videos.is_relative_to(out) else str(videos)


def _report(manifest: Manifest, failed: Sequence[Record], summary: Record) -> None:
    for split, info in manifest.splits.items():
        share = info.present / info.official
        groups = (summary.get('groups') or {}).get(split)
        logger.log(
            logging.INFO if share >= 0.99 else logging.WARNING,
            '%s: %d of %d listed clips can be used (%.1f %%)%s',
            split,
            info.present,
            info.official,
            100 * share,
            f', listed in {groups} groups' if groups else '',
        )
    report_failures(
        Counter(record['reason'] for record in failed),
        {record['reason']: record['id'] for record in reversed(failed)},
        manifest.folder / 'failed.jsonl',
    )
    if summary['left_out']:
        logger.log(*tell_left_out(summary['left_out']))
    logger.info(
        'wrote %s, content %s, made %s', manifest.file, manifest.content_hash[:12], manifest.made_hash[:12]
    )
