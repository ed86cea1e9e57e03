"""What stands in the folder of videos: files by their names, folders of images, archives."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.common.listing import Found

__all__ = ['LeftOut', 'Scan', 'is_archive', 'is_frame', 'note_suffix', 'scan', 'tell_left_out', 'walk']

VIDEOS = ('.mp4', '.webm', '.mkv', '.avi', '.mov', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.ts', '.3gp')
IMAGES = ('.jpg', '.jpeg', '.png')
PICTURES = (*IMAGES, '.bmp', '.webp', '.tif', '.tiff', '.ppm')  # that may be clips of one frame
LISTS = (
    '.txt',
    '.csv',
    '.json',
    '.jsonl',
    '.md',
    '.html',
    '.xml',
    '.yaml',
    '.yml',
    '.pdf',
    '.log',
    '.db',
    '.ini',
    '.py',
    '.sh',
    '.md5',
    '.sha1',
    '.sha256',
    '.srt',
    '.vtt',
    '.wav',
    '.mp3',
)  # what stands beside clips and is none
ARCHIVE = re.compile(
    r'.+\.(zip|tar|tgz|tar\.(gz|bz2|xz))|.+-\d\d|.+\.(tar|tgz|tar\.gz|zip)\.(part)?(\d{2,3}|[a-z]{2})',
    re.IGNORECASE,
)


LeftOut = dict[str, list]
"""Suffix in lower case ('' for none) -> [how many files, the first of them in the order of their names]."""


def note_suffix(left_out: LeftOut, path: str) -> None:
    """Count a file that is left out for its suffix."""
    count, first = left_out.get(suffix := os.path.splitext(path)[1].lower(), (0, path))
    left_out[suffix] = [count + 1, min(first, path)]


def tell_left_out(left_out: LeftOut) -> tuple[int, str]:
    """(level of logging, sentence) about files that are left out: how many with which suffix, the first of
    each, what to do."""
    counted = sorted(left_out.items(), key=lambda item: (item[0] in LISTS, -item[1][0], item[0]))
    said = ', '.join(f'{count} {suffix or "without suffix"} ({first})' for suffix, (count, first) in counted)
    clips = [suffix or 'none' for suffix, _ in counted if suffix not in LISTS]
    remedy = f'; if these are videos, take them with --also {",".join(clips)}' if clips else ''
    return (
        logging.WARNING if clips else logging.INFO
    ), f'left out, for their suffix is none of a video: {said}{remedy}'


@dataclass
class Scan:
    """Paths below ``root``, with ``/``, sorted; and the files whose suffix is none of a clip, by suffix."""

    root: Path
    found: Found
    archives: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=dict)

    def add(self, more: Iterable[tuple[str, str]]) -> None:
        """Count ``(path, kind)`` as found, too."""
        for path, kind in more:
            name = path.rpartition('/')[2]
            named = self.found.named(kind)
            paths = named.setdefault(name if kind == 'frames' else os.path.splitext(name)[0], [])
            if path not in paths:
                paths.append(path)
                paths.sort()

    def __len__(self) -> int:
        return sum(
            len(paths) for kind in ('video', 'frames', 'image') for paths in self.found.named(kind).values()
        )


def is_archive(name: str) -> bool:
    """Whether a name is that of an archive or of a part of one: x.tar.gz, x.zip, x-00, x.tar.gz.aa."""
    return not name.startswith('.') and ARCHIVE.fullmatch(name) is not None


def is_frame(name: str) -> bool:
    """Whether a name is that of a numbered image."""
    stem, suffix = os.path.splitext(name)
    return suffix.lower() in IMAGES and stem[-1:].isdigit()


def scan(root: Path, also: Collection[str] = (), images: bool = False) -> Scan:
    """Look through ``root`` and all below it, links included; hidden files, thumbnails and the like do not
    count.

    A folder is one of frames if it holds an image whose name ends in digits.

    Args:
        also: suffixes in lower case, '' for none, of files that are videos, too.
        images: whether each picture is a clip, rather than a frame of its folder.

    Raises:
        OSError: a folder cannot be read.
    """
    videos, folders, archives, left_out = defaultdict(list), defaultdict(list), [], {}
    pictures = defaultdict(list)
    for folder, names in walk(os.fspath(root)):
        below = os.path.relpath(folder, root).replace(os.sep, '/')
        prefix = '' if below == '.' else f'{below}/'
        of_frames = False
        for name in names:
            stem, suffix = os.path.splitext(name)
            suffix = suffix.lower()
            if images and suffix in PICTURES:
                pictures[stem].append(prefix + name)
            elif suffix in IMAGES:
                of_frames = of_frames or is_frame(name)
            elif suffix in VIDEOS:
                videos[stem].append(prefix + name)
            elif is_archive(name):
                archives.append(prefix + name)
            elif suffix in also:
                videos[stem].append(prefix + name)
            else:
                note_suffix(left_out, prefix + name)
        if of_frames:
            folders[os.path.basename(folder)].append(below)
    for paths in (*videos.values(), *folders.values(), *pictures.values(), archives):
        paths.sort()
    return Scan(root, Found(dict(videos), dict(folders), dict(pictures)), archives, left_out)


def walk(root: str) -> Iterator[tuple[str, list[str]]]:
    """(folder, names of its files), every folder once even if links go round."""
    seen, waiting = set(), [root]
    while waiting:
        folder = waiting.pop()
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in seen:
            continue
        seen.add((stat.st_dev, stat.st_ino))
        names = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith('.'):
                    continue
                if _is_folder(entry):
                    waiting.append(entry.path)
                else:
                    names.append(entry.name)
        yield folder, names


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
