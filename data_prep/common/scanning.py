"""What stands in the folder of videos: files by their names, folders of images, archives."""
from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.common.listing import Found

__all__ = ['Scan', 'is_archive', 'is_frame', 'scan', 'walk']

VIDEOS = ('.mp4', '.webm', '.mkv', '.avi', '.mov', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.ts', '.3gp')
IMAGES = ('.jpg', '.jpeg', '.png')
ARCHIVE = re.compile(r'.+\.(zip|tar|tgz|tar\.(gz|bz2|xz))|.+-\d\d|.+\.(tar|tgz|tar\.gz|zip)\.(part)?(\d{2,3}|[a-z]{2})', re.IGNORECASE)


@dataclass
class Scan:
    """Paths below ``root``, with ``/``, sorted."""
    root: Path
    found: Found
    archives: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, self.found.videos.values())) + sum(map(len, self.found.folders.values()))


def is_archive(name: str) -> bool:
    """Whether a name is that of an archive or of a part of one: x.tar.gz, x.zip, x-00, x.tar.gz.aa."""
    return not name.startswith('.') and ARCHIVE.fullmatch(name) is not None


def is_frame(name: str) -> bool:
    """Whether a name is that of a numbered image."""
    stem, suffix = os.path.splitext(name)
    return suffix.lower() in IMAGES and stem[-1:].isdigit()


def scan(root: Path) -> Scan:
    """Look through ``root`` and all below it, links included; hidden files, thumbnails and the like do not count.

    A folder is one of frames if it holds an image whose name ends in digits.

    Raises:
        OSError: a folder cannot be read.
    """
    videos, folders, archives = defaultdict(list), defaultdict(list), []
    for folder, names in walk(os.fspath(root)):
        below = os.path.relpath(folder, root).replace(os.sep, '/')
        prefix = '' if below == '.' else f'{below}/'
        of_frames = False
        for name in names:
            stem, suffix = os.path.splitext(name)
            suffix = suffix.lower()
            if suffix in VIDEOS:
                videos[stem].append(prefix + name)
            elif suffix in IMAGES:
                of_frames = of_frames or is_frame(name)
            elif is_archive(name):
                archives.append(prefix + name)
        if of_frames:
            folders[os.path.basename(folder)].append(below)
    for paths in (*videos.values(), *folders.values(), archives):
        paths.sort()
    return Scan(root, Found(dict(videos), dict(folders)), archives)


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
    except OSError:                                                  # a link to itself
        return False
