"""The rows of a prepared dataset, or of a list file of another tool, as samples."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch.utils.data import Dataset, get_worker_info

from ..registry import DATASETS, TRANSFORMS
from . import manifest as manifests
from .content import content_of_split, with_relative_ids
from .manifest import LIST_FORMS, ClipRow, ManifestError
from .readers import VideoError, is_image
from .remote import is_address, joined
from .results import FrameNames, Results
from .row_table import RowTable
from .shards import member_of
from .transforms import DecodeFrames, Reframe

__all__ = ['ClipDataset', 'TooManyBadVideos', 'build_pipeline', 'describe_clip']


@dataclass(frozen=True)
class Pipeline:
    """Transforms that run one after another.

    Attributes:
        steps: each takes the results of the one before; the first takes what :func:`describe_clip` gives.
    """

    steps: tuple[Callable[[Any], Any], ...]

    def __call__(self, results: Results) -> Any:
        made: Any = results  # the last step makes of it what it likes
        for step in self._joined:
            made = step(made)
        return made

    @cached_property
    def _joined(self) -> tuple[Callable[[Any], Any], ...]:
        """The steps, DecodeFrames and what cuts and scales its frames next as one."""
        joined: list[Callable[[Any], Any]] = []
        steps = list(self.steps)
        while steps:
            step = steps.pop(0)
            if type(step) is DecodeFrames:
                then: list[Reframe] = []
                while steps and isinstance(follower := steps[0], Reframe):
                    then.append(follower)
                    del steps[0]
                step = partial(step, then=then)
            joined.append(step)
        return tuple(joined)


FRAME_TEMPLATES = {
    'mmaction2_frames': 'img_{:05d}.jpg',
    'arnet': 'image_{:05d}.jpg',
}  # of the other list forms: TSM's, as in manifests
TRIES = 10  # videos in a row that may be bad before a sample gives up


class TooManyBadVideos(RuntimeError):
    """More of the training videos cannot be read than ``max_bad_rate`` allows; the message lists the
    worst."""


def build_pipeline(transforms: Sequence[Mapping[str, Any] | Callable[[Any], Any]]) -> Pipeline:
    """One callable of a list of transforms: configs of TRANSFORMS, or callables.

    Raises:
        ValueError: if the list is empty.
    """
    if not transforms:
        raise ValueError('the pipeline is empty; it needs at least SampleFrames, DecodeFrames and PackClip')
    return Pipeline(tuple(step if callable(step) else TRANSFORMS.build(step) for step in transforms))


def describe_clip(
    path: str | PathLike[str], *, frame_template: str = '{:05d}.jpg', start_index: int = 1, seed: int = 0
) -> Results:
    """What a pipeline needs to know of a video file, or folder of images, that is in no dataset: it has no
    label.

    The frames are counted when it is read; a missing file shows then, as a ``VideoError``.
    """
    path = Path(path)
    is_folder = path.is_dir()
    return {
        'path': str(path),
        'kind': 'frames' if is_folder else 'image' if is_image(path) else 'video',
        'video_id': path.name if is_folder else path.stem,
        'total_frames': None,
        'frame_template': frame_template,
        'start_index': start_index,
        'rng': np.random.default_rng(seed),
    }


@DATASETS.register_module()
class ClipDataset(Dataset):
    """Labelled clips of one split.

    Every sample has its own random generator, made of (seed, epoch, index): what a sample looks like depends
    on nothing else, neither on the number of workers nor on what was drawn before, so a resumed run sees the
    data of the run that was never cut. Tell the epoch by :meth:`set_epoch` before each one; it lies in shared
    memory and so reaches worker processes that are already running (persistent ones).

    A video that cannot be read raises ``VideoError`` in test mode. In training it is counted and logged, and
    another clip, drawn from (seed, epoch, index) too, takes its place. The counts of all worker processes of
    this rank lie in shared memory (other ranks count their own); when more than ``max_bad_rate`` of the
    attempts failed, :class:`TooManyBadVideos` stops the run with the list of the worst.

    Args:
        root: the prepared dataset: the folder of ``dataset.json``, or, of one in shards, its address (e.g.
            ``s3://bucket/kinetics400``); for a list file, the folder that its paths start from.
        split: name of the split; for a list file, what to call it.
        pipeline: transforms, as configs of TRANSFORMS or callables; see :mod:`gfvideo.data.transforms`.
        form: ``'manifest'``, or the form of the list file (:func:`gfvideo.data.manifest.read_list`).
        list_file: the list file, unless the form is ``'manifest'``.
        classes: for a list file: the class names in label order, or the file that lists them.
        test_mode: raise on a bad video, and the same sample whatever the epoch.
        seed: of the samples' generators.
        max_bad_rate: share of attempts to read a video that may fail in training, in [0, 1].
        min_attempts: attempts before that share is judged.
        frame_template, start_index: names of the images in folders of frames; by default what the manifest
            says, or what the tool that the list file belongs to uses (``'img_{:05d}.jpg'`` for MMAction2,
            ``'image_{:05d}.jpg'`` for AR-Net, else ``'{:05d}.jpg'``; from 1).
        prepare: the command that makes the prepared dataset, quoted when it is missing.
        fold: 'K/N' keeps the K-th of N parts of the split, K from 0, drawn by a hash of the video ids, so
            that exits can be fitted on one part of the only held-out split there is, and tested on the other.
            None keeps the whole split.

    Raises:
        FileNotFoundError: if the manifest, the list or the folder of the videos is missing.
        ManifestError: if one is malformed, or the split is empty.
        ValueError: on other arguments that make no sense.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        pipeline: Sequence[Mapping[str, Any] | Callable[[Any], Any]],
        form: str = 'manifest',
        list_file: str | Path | None = None,
        classes: Sequence[str] | str | Path | None = None,
        test_mode: bool = False,
        seed: int = 0,
        max_bad_rate: float = 0.01,
        min_attempts: int = 200,
        frame_template: str | None = None,
        start_index: int | None = None,
        prepare: str | None = None,
        fold: str | None = None,
    ):
        if not 0 <= max_bad_rate <= 1:
            raise ValueError(f'max_bad_rate is {max_bad_rate!r}; give a share in [0, 1]')
        if type(seed) is not int or seed < 0:
            raise ValueError(f'seed is {seed!r}; give a whole number from 0')
        if form == 'manifest':
            if list_file is not None or classes is not None:
                raise ValueError(
                    'list_file and classes belong to list files; a prepared dataset names its own, or set'
                    f' form to {", ".join(LIST_FORMS)}'
                )
            rows, self._videos, meta = _load_manifest(
                root if is_address(root) else Path(root), split, prepare
            )
        else:
            rows, self._videos, meta = _load_list(Path(root), split, form, list_file, classes)
        if not test_mode and (unlabelled := int((rows.labels < 0).sum())):
            raise ManifestError(
                f'{root}: {unlabelled} of {len(rows)} clips of split {split!r} have no label (the annotation'
                ' tells none); train on another split'
            )
        if fold is not None:
            rows = _fold_of(rows, fold, split)
            meta.update(fold=fold, present=len(rows), official=None)
        template, start = meta.pop('frame_template'), meta.pop('start_index')
        self._frame_names = FrameNames(
            frame_template=template if frame_template is None else frame_template,
            start_index=start if start_index is None else start_index,
        )
        self.metainfo = meta
        self.test_mode, self.max_bad_rate, self.min_attempts = test_mode, max_bad_rate, min_attempts
        self._rows = rows
        self._pipeline = build_pipeline(pipeline)
        self._clock = torch.tensor([seed, 0]).share_memory_()  # seed, epoch
        self._failures = torch.zeros(len(rows), dtype=torch.int32).share_memory_()  # per video
        self._attempts = torch.zeros(256, dtype=torch.int64).share_memory_()  # per process: one writer each

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Any:
        """What the pipeline makes of clip ``index``: with PackClip,
        ``dict(inputs=uint8 tensor, data_samples=ClipSample)``."""
        if not 0 <= index < len(self):
            raise IndexError(f'clip {index} of a split of {len(self)}')
        if self.test_mode:
            return self._pipeline(self._results(index, self.rng(index)))
        return self._first_that_reads(index)

    def row(self, index: int) -> ClipRow:
        """The row of clip ``index``."""
        return self._rows[index]

    def set_epoch(self, epoch: int, seed: int | None = None) -> None:
        """Say which epoch comes next, and optionally another seed; call it before the epoch's iterator is
        made.

        Running worker processes see it at once, so a call while batches are being fetched would split the
        epoch.
        """
        self._clock[1] = epoch
        if seed is not None:
            self._clock[0] = seed

    def rng(self, index: int, attempt: int = 0) -> np.random.Generator:
        """The generator of clip ``index`` in this epoch (in test mode: in any epoch)."""
        seed, epoch = self._clock.tolist()
        return np.random.default_rng((seed, 0 if self.test_mode else epoch, index, attempt))

    def bad_videos(self) -> tuple[int, dict[str, int]]:
        """Attempts to read a video so far in training, by all worker processes of this rank, and
        ``{path: failures}``, worst first."""
        bad = self._failures.nonzero().flatten().tolist()
        counts = {self._rows[index].path: int(self._failures[index]) for index in bad}
        return int(self._attempts.sum()), dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def _results(self, index: int, rng: np.random.Generator) -> Results:
        row = self._rows[index]
        return {
            'path': joined(self._videos, row.path),
            'kind': row.kind,
            'video_id': row.id,
            'label': row.label,
            'labels': row.labels,
            'start': row.start,
            'end': row.end,
            'total_frames': row.frames,
            'classes': self.metainfo['classes'],
            'rng': rng,
            **self._frame_names,
        }

    def _first_that_reads(self, index: int) -> Any:
        """The clip at ``index`` or, while videos are bad, another one drawn at random."""
        for attempt in range(TRIES):
            rng = self.rng(index, attempt)
            current = index if attempt == 0 else int(rng.integers(len(self)))
            try:
                sample = self._pipeline(self._results(current, rng))
            except VideoError as error:
                self._count(current, bad=True)
                print_log(
                    f'bad video, another clip takes its place: {error}',
                    logger='current',
                    level=logging.WARNING,
                )
                self._stop_if_too_many()
            else:
                self._count(current, bad=False)
                return sample
        raise TooManyBadVideos(
            f'{TRIES} videos in a row could not be read; is {self._videos} the right folder? {self._report()}'
        )

    def _count(self, index: int, bad: bool) -> None:
        worker = get_worker_info()
        self._attempts[0 if worker is None else 1 + worker.id % (len(self._attempts) - 1)] += 1
        self._failures[index] += bad

    def _stop_if_too_many(self) -> None:
        attempts, bad = int(self._attempts.sum()), int(self._failures.sum())
        if attempts >= self.min_attempts and bad > self.max_bad_rate * attempts:
            raise TooManyBadVideos(
                f'{bad} of {attempts} attempts to read a video failed, more than'
                f' max_bad_rate={self.max_bad_rate}. {self._report()}'
            )

    def _report(self) -> str:
        _, worst = self.bad_videos()
        lines = ''.join(f'\n  {path} ({count} times)' for path, count in list(worst.items())[:10])
        return (
            f'Videos that failed: {len(worst)}; the worst:{lines}\nPrepare the dataset again to leave them'
            ' out, or raise max_bad_rate.'
        )


def _fold_of(rows: RowTable, fold: str, split: str) -> RowTable:
    first, _, second = str(fold).partition('/')
    if not (first.isdigit() and second.isdigit() and int(first) < int(second)):
        raise ValueError(f"fold is {fold!r}; write 'K/N' with K from 0 and below N, e.g. '0/2'")
    part, parts = int(first), int(second)
    kept = [
        place
        for place, row in enumerate(rows)
        if int.from_bytes(hashlib.sha256(row.id.encode()).digest()[:8]) % parts == part
    ]
    if not kept:
        raise ManifestError(f'part {part} of {parts} of split {split!r} has no clip; make fewer parts')
    return rows.take(np.array(kept))


def _load_manifest(
    root: Path | str, split: str, prepare: str | None
) -> tuple[RowTable, Path | str, dict[str, Any]]:
    if isinstance(root, Path) and not (root / 'dataset.json').is_file():
        command = prepare or f'python data_prep/<dataset>.py --videos DIR --annotations DIR --out {root}'
        raise FileNotFoundError(
            f'no prepared dataset at {root}: {root / "dataset.json"} is missing; make it with\n  {command}\n'
            'or correct root (the scripts in data_prep/ answer --help)'
        )
    manifest = manifests.read_manifest(root)
    rows = manifests.read_table(manifest, split)
    _check_loaded(
        rows, split, manifest.file, manifest.videos, 'correct video_root in it or prepare the dataset again'
    )
    if member_of(rows[0].path) is not None:
        manifests.check_packed(manifest.videos, split)
    elif is_address(manifest.videos):
        raise ManifestError(
            f'{manifest.videos}: its clips are files of their own, and only shards are read from an address;'
            ' prepare the dataset with --to shards, or copy it to this machine'
        )
    info = manifest.splits[split]
    return (
        rows,
        manifest.videos,
        {
            'name': manifest.name,
            'version': manifest.version,
            'classes': list(manifest.classes),
            'label_order': manifest.label_order,
            'split': split,
            'manifest_hash': manifest.hash,
            'content_hash': manifest.contents.get(split) or content_of_split(manifest.classes, rows),
            'made_hash': manifest.made_hash or None,
            'present': info.present,
            'official': info.official,
            'frame_template': manifest.frame_template,
            'start_index': manifest.start_index,
        },
    )


def _load_list(
    root: Path, split: str, form: str, file: str | Path | None, classes: Sequence[str] | str | Path | None
) -> tuple[RowTable, Path, dict[str, Any]]:
    if form not in LIST_FORMS:
        raise ValueError(f"form is {form!r}; use 'manifest' or a list file: {', '.join(LIST_FORMS)}")
    if file is None or classes is None:
        raise ValueError(
            f'the form {form!r} needs list_file, the list, and classes, the names in label order or the file'
            ' that lists them'
        )
    names = manifests.read_classes(classes) if isinstance(classes, (str, Path)) else tuple(classes)
    rows = manifests.read_list(file, form, names)
    _check_loaded(rows, split, Path(file), root, 'correct root')
    name, order = Path(file).stem, 'given'
    info = manifests.SplitInfo(Path(file).name, len(rows), None, manifests.rows_hash(rows))
    return (
        RowTable.of(rows),
        root,
        {
            'name': name,
            'version': form,
            'classes': list(names),
            'label_order': order,
            'split': split,
            'manifest_hash': manifests.manifest_hash(name, form, names, order, {split: info}),
            'content_hash': content_of_split(names, with_relative_ids(rows)),
            'made_hash': None,
            'present': len(rows),
            'official': None,
            'frame_template': FRAME_TEMPLATES.get(form, '{:05d}.jpg'),
            'start_index': 1,
        },
    )


def _check_loaded(rows: Sequence[ClipRow], split: str, file: Path, videos: Path | str, remedy: str) -> None:
    if not rows:
        raise ManifestError(f'{file}: split {split!r} has no clip; prepare the dataset again')
    if not is_address(videos) and not Path(videos).is_dir():
        raise FileNotFoundError(f'the folder of the videos, {videos}, is missing ({file} is there); {remedy}')
