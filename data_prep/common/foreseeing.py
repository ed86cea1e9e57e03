"""What a preparation will take, before it begins: clips, core-hours and bytes of each step, against the room
there is, measured on a few of its clips."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.common.archives import Volume, first_members
from data_prep.common.checking import Verdict
from data_prep.common.listing import Found, names_meant
from data_prep.common.scanning import VIDEOS, scan
from data_prep.common.steps.encode import EncodeJob
from data_prep.common.steps.index import Annotation
from data_prep.common.steps.jobs import Clip
from data_prep.common.steps.verify import checker

__all__ = ['Forecast', 'foresee', 'tell']

SAMPLE = 12  # clips


@dataclass(frozen=True)
class Forecast:
    """What the steps will take.

    Attributes:
        clips: that the annotation lists, or that were found where no annotation does.
        source_bytes: of the files, or of the archives, that they come from.
        verify_seconds, encode_seconds: of one core, for all.
        unpacked_bytes, encoded_bytes: that will be written.
        sampled: how many clips that was measured on.
    """

    clips: int
    source_bytes: int
    verify_seconds: float
    encode_seconds: float
    unpacked_bytes: int
    encoded_bytes: int
    sampled: int


def foresee(
    volumes: Sequence[Volume],
    root: Path,
    also: Sequence[str],
    annotation: Annotation,
    job: EncodeJob | None,
    tmp: Path,
) -> Forecast:
    """Measure a few clips, spread over the folder or the first in the first archive, and scale by bytes.

    Args:
        volumes: archives; none: the clips are files below ``root``.
        also: suffixes of files that are videos, too.
        annotation: what is listed.
        job: that would encode the clips; None: they stay as they are.
        tmp: folder for what is tried.
    """
    if volumes:
        whole = sum(os.stat(file).st_size for file in {file for one in volumes for file, _ in one.parts})
        listing = annotation.read(Found({}, {})) if annotation.listed else None
        names = None if listing is None else names_meant(listing)
        suffixes = (*VIDEOS, *filter(None, also))
        paths = first_members(volumes[0], suffixes, names, SAMPLE, tmp / 'sample')
        sample = [(path, 'video') for path in paths]
        count = 0 if listing is None else len(listing.clips)
    else:
        found = scan(root, also).found
        matched = annotation.match(annotation.read(found), found)
        clips = sorted({(clip.path, clip.kind) for clip in matched if clip.path is not None})
        whole = sum(_bytes(root / path) for path, _ in clips)
        count, few = len(clips), min(SAMPLE, len(clips))
        sample = [(root / path, kind) for path, kind in (clips[one * count // few] for one in range(few))]
    return _scaled(sample, whole, count, job, tmp, unpacked=bool(volumes))


def _bytes(path: Path) -> int:
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                return sum(entry.stat().st_size for entry in entries)
        return path.stat().st_size
    except OSError:
        return 0


def _scaled(
    sample: list[tuple[Path, str]], whole: int, count: int, job: EncodeJob | None, tmp: Path, unpacked: bool
) -> Forecast:
    size = sum(_bytes(path) for path, _ in sample)
    verified: list[tuple[Path, str, Verdict]] = []

    def verify() -> None:
        verified.extend((path, kind, checker()(str(path.absolute()), kind, 600.0)) for path, kind in sample)

    if sample:  # the process that decodes starts, which does not count
        checker()(str(sample[0][0].absolute()), sample[0][1], 600.0)
    verifying = _seconds(verify)
    usable = [one for one in verified if one[2].reason is None]
    encoding, encoded, read = 0.0, 0, sum(_bytes(path) for path, _, _ in usable)
    if job is not None:
        trial = replace(job, temporary=tmp, consume=False)
        sizes: list[int] = []

        def encode() -> None:
            for number, (path, kind, verdict) in enumerate(usable):
                sizes.append(trial.try_out(Clip(str(path.absolute()), kind, '', verdict), tmp / f'{number}'))

        encoding = _seconds(encode)
        encoded = sum(sizes)
    times = whole / size if size else 0.0
    scale = whole / read if read else 0.0
    return Forecast(
        count,
        whole,
        verifying * times,
        encoding * scale,
        whole if unpacked else 0,
        int(encoded * scale),
        len(sample),
    )


def _seconds(work: Callable[[], None]) -> float:
    """By the clock, of work that keeps one core busy."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def tell(forecast: Forecast, out: Path, workers: int) -> list[str]:
    """Lines about it."""
    there = next(folder for folder in (out, *out.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    needed = forecast.unpacked_bytes + forecast.encoded_bytes
    rows = [
        ('step', 'clips', 'core-hours', 'GiB written'),
        ('unpack', '', '', f'{forecast.unpacked_bytes / 2**30:.2f}'),
        ('verify', f'{forecast.clips:,}', f'{forecast.verify_seconds / 3600:.2f}', ''),
        (
            'transcode or frames',
            f'{forecast.clips:,}',
            f'{forecast.encode_seconds / 3600:.2f}',
            f'{forecast.encoded_bytes / 2**30:.2f}',
        ),
    ]
    seconds = (forecast.verify_seconds + forecast.encode_seconds) / workers
    return [
        *(f'{row[0]:<20}{row[1]:>12}{row[2]:>12}{row[3]:>14}' for row in rows),
        f'{forecast.source_bytes / 2**30:.2f} GiB of sources; measured on {forecast.sampled} clips, so'
        f' roughly; {seconds / 3600:.2f} hours with {workers} workers',
        f'{needed / 2**30:.2f} GiB at most at a time, {free / 2**30:.2f} GiB are free at {there}'
        + ('' if needed < free else ': NOT ENOUGH; name an --out on a larger disk'),
    ]
