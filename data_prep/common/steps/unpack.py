"""The step unpack: the folder that the clips lie in, and archives -> OUT/source and work/unpack.jsonl."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from threading import get_ident

from data_prep.common.archives import ArchiveError, Volume, begins_as_archive, find_volumes, unpack
from data_prep.common.listing import is_meant
from data_prep.common.records import Record, read_lines, write_lines
from data_prep.common.scanning import IMAGES, LISTS, PICTURES, VIDEOS, LeftOut, is_archive, is_frame, walk
from data_prep.common.spreading import Spread, no_room, run_all
from data_prep.common.workspace import PreparationError, Workspace
from gfvideo.files import write_atomically

__all__ = ['Sources', 'UnpackJob', 'find_sources', 'tops_of', 'unpack_archives', 'with_those_of_archives']

logger = logging.getLogger('data_prep')


@dataclass(frozen=True)
class Sources:
    """What ``--videos`` names.

    Attributes:
        root: the folder that paths of clips start from: the only folder of videos, or ``space.source``, where
            archives are unpacked and several folders are put together by links.
        archives: to be unpacked there.
        folders: name in ``space.source`` -> folder to be linked there.
    """

    root: Path
    archives: list[Path]
    folders: dict[str, Path]

    def link_folders(self) -> None:
        """Make the links, and remove those of earlier runs with other folders."""
        if not self.folders:
            return
        self.root.mkdir(parents=True, exist_ok=True)
        for path in self.root.iterdir():
            if path.is_symlink() and path.name not in self.folders:
                path.unlink(missing_ok=True)
        for name, folder in self.folders.items():
            link, target = self.root / name, folder.resolve()
            if link.is_symlink() and link.resolve() != target:
                link.unlink(missing_ok=True)
            with suppress(FileExistsError):  # another shard made it
                link.symlink_to(target)


def find_sources(videos: Sequence[Path], space: Workspace, also: Collection[str]) -> Sources:
    """Where the clips are.

    Args:
        videos: folders of videos or of frames, folders of archives, archives.
        also: suffixes of files that are videos, too.

    Raises:
        PreparationError: what is prepared would lie among the videos, or one folder is named twice.
    """
    archives = [path for path in videos if path.is_file()]
    folders: list[Path] = []
    for folder in (path for path in videos if path.is_dir()):
        if space.out.resolve().is_relative_to(folder.resolve()):
            raise PreparationError(
                f'--out ({space.out}) lies inside --videos ({folder}): what is prepared would pass for'
                ' videos; name a folder beside it'
            )
        there = _archives_alone(folder, also)
        archives += there
        folders += [] if there else [folder]
    if len(folders) == 1 and not archives:
        return Sources(folders[0], [], {})
    return Sources(space.source, archives, _named(folders))


def _named(folders: Sequence[Path]) -> dict[str, Path]:
    """Names of links: that of the folder, with the one above it where two have it."""
    whole = [folder.resolve() for folder in folders]
    twice = next((folder for folder in whole if whole.count(folder) > 1), None)
    if twice is not None:
        raise PreparationError(f'--videos names {twice} twice')
    short = [folder.name for folder in whole]
    names = [
        folder.name if short.count(folder.name) == 1 else f'{folder.parent.name}_{folder.name}'
        for folder in whole
    ]
    if len(set(names)) < len(names):
        raise PreparationError(
            f'--videos names several folders {next(name for name in names if names.count(name) > 1)!r}; put'
            ' links to them in one folder, and name that'
        )
    return dict(zip(names, folders))


def _archives_alone(folder: Path, also: Collection[str]) -> list[Path]:
    """The archives in a folder, unless videos or frames stand there, too: then they have been unpacked
    already."""
    archives, others, loose = [], [], False
    for where, names in walk(os.fspath(folder)):
        for name in names:
            if is_archive(name):
                archives.append(Path(where, name))
            elif os.path.splitext(name)[1].lower() in VIDEOS or is_frame(name) or _is_also(name, also):
                loose = True
            elif os.path.splitext(name)[1].lower() not in LISTS + PICTURES:
                others.append(Path(where, name))
        if loose:
            break
    if not loose:  # saved under another name
        archives += [path for path in others if begins_as_archive(path)]
    if loose and archives:
        logger.warning(
            '%s holds archives (%s, …) beside videos; the videos are taken and the archives are not read:'
            ' name the archives in --videos to unpack them',
            folder,
            archives[0].name,
        )
    return [] if loose else archives


@dataclass(frozen=True)
class UnpackJob:
    """Unpack whole archives; gives the record of each, or the error of one that is broken.

    Attributes:
        source: folder that archives are unpacked in, each in one of its own.
        temporary: folder for files in the making, on the same file system.
        also: suffixes of files that are videos, too.
        largest: bytes that a file may have.
        listed: file of the names that a member may have, one a line; None: any.
    """

    source: Path
    temporary: Path
    also: tuple[str, ...]
    largest: int
    listed: Path | None

    def __call__(self, volumes: Sequence[Volume]) -> list[Record]:
        return [self._unpack(volume) for volume in volumes]

    def _unpack(self, volume: Volume) -> Record:
        names = None if self.listed is None else _names_in(self.listed)

        def wanted(member: str) -> bool:
            return _is_of_clips(PurePosixPath(member or '-').name, self.also) and (
                names is None or is_meant(member, names)
            )

        temporary = self.temporary / f'{os.getpid()}-{get_ident()}' / 'member'
        try:
            result = unpack(volume, self.source / volume.name, temporary, self.largest, wanted)
        except ArchiveError as error:
            return {'name': volume.name, 'error': str(error)}
        except OSError as error:
            raise no_room(error) or error from error
        counts = {name: getattr(result, name) for name in ('written', 'there', 'passed_over')}
        taken = (*VIDEOS, *IMAGES, *self.also)  # what is not listed is not left out for its suffix
        left_out = {suffix: some for suffix, some in result.left_out.items() if suffix not in taken}
        return {'name': volume.name, **counts, 'left_out': left_out, 'refused': result.refused}

    def dead(self, volume: Volume) -> list[Record]:
        return [{'name': volume.name, 'error': f'{volume.name}: the worker that unpacked it was killed'}]


@cache
def _names_in(file: Path) -> frozenset[str]:
    return frozenset(file.read_text(encoding='utf-8', errors='surrogateescape').split('\n'))


def unpack_archives(
    archives: Sequence[Path],
    space: Workspace,
    also: Sequence[str],
    largest_member: int,
    spread: Spread,
    names: Collection[str] | None = None,
    again: Collection[str] = (),
    alone: bool = False,
) -> None:
    """Unpack into ``space.source`` what was not unpacked before, several archives at a time.

    Args:
        also: suffixes of files that are videos, too.
        largest_member: bytes that a file may have.
        names: that a member, or a folder it stands in, must have, see
            :func:`~data_prep.common.listing.is_meant`; None: all clips are unpacked.
        again: names of archives that are unpacked though they were before.
        alone: whether no step follows, so that shards may have a share of the archives each.

    Raises:
        ArchiveError, OSError: see :func:`~data_prep.common.archives.unpack`; a broken archive does not keep
            the others from being unpacked, and the error at the end names all that are broken.
        PreparationError: a shard would unpack, and go on before the others have.
    """
    volumes = find_volumes(archives)
    listed, digest = None, ''
    if names is not None:
        text = '\n'.join(sorted(names)).encode(errors='surrogateescape')
        digest = hashlib.sha256(text).hexdigest()[:16]
        listed = (space.work / f'listed-{digest}.txt').absolute()
    keys = {volume.name: ' '.join((volume.key(), *also, digest)).strip() for volume in volumes}
    done = {record['name']: record for record in _unpacked(space)}
    todo = []
    for volume in volumes:
        if done.get(volume.name, {}).get('key') == keys[volume.name] and volume.name not in again:
            logger.info('%s was unpacked before', volume.name)
        else:
            todo.append(volume)
    space.source.mkdir(parents=True, exist_ok=True)
    if todo and space.is_sharded and not alone:
        raise PreparationError(
            'archives are unpacked before shards do more: run the step unpack first, with or without --shard'
            ' (--steps unpack)'
        )
    todo = [volume for volume in todo if space.has(volume.name)]
    if not todo:
        return
    own = {record['name']: record for record in _records_in(_unpacked_file(space))}
    if listed is not None:
        write_atomically(listed, text)
    job = UnpackJob(space.source.absolute(), space.temporary.absolute(), tuple(also), largest_member, listed)
    logger.info('unpacking %d archives (%d files)', len(todo), sum(len(one.parts) for one in todo))
    broken = []
    try:
        for results in run_all(spread, job, todo, 1, job.dead):
            for record in results:
                if 'error' in record:
                    logger.error('%s', record['error'])
                    broken.append(record['error'])
                    continue
                _tell(record)
                own[record['name']] = {**record, 'key': keys[record['name']]}
                write_lines(_unpacked_file(space), (own[name] for name in sorted(own)))
    finally:
        if listed is not None:
            listed.unlink(missing_ok=True)
    if len(broken) == 1:
        raise ArchiveError(broken[0])
    if broken:
        raise ArchiveError(
            f'{len(broken)} of {len(volumes)} archives are not unpacked whole: {"; ".join(sorted(broken))}'
        )


def _tell(record: Record) -> None:
    told = (record.pop(name) for name in ('written', 'there', 'passed_over'))
    logger.info('%s: %d files written, %d there already, %d passed over', record['name'], *told)
    if record['refused']:
        logger.warning(
            '%s: %d files cannot have their names here, e.g. %r: %s',
            record['name'],
            len(record['refused']),
            *record['refused'][0],
        )


def _is_of_clips(name: str, also: Collection[str] = ()) -> bool:
    return not name.startswith('.') and (
        os.path.splitext(name)[1].lower() in VIDEOS + IMAGES or _is_also(name, also)
    )


def _is_also(name: str, also: Collection[str]) -> bool:
    return os.path.splitext(name)[1].lower() in also and not is_archive(name)


def tops_of(space: Workspace) -> list[str]:
    """The folders in ``space.source`` that archives were unpacked in and that links stand for."""
    links = [path.name for path in space.source.iterdir() if path.is_symlink()]
    return sorted({*links, *(volume['name'] for volume in _unpacked(space))})


def _unpacked_file(space: Workspace) -> Path:
    """Of this run: shards write at the same time."""
    return space.work / (f'unpack-{space.shard_name}.jsonl' if space.is_sharded else 'unpack.jsonl')


def _records_in(file: Path) -> list[Record]:
    return list(read_lines(file)) if file.is_file() else []


def _unpacked(space: Workspace) -> list[Record]:
    """What all runs have unpacked, the last one that did so of each archive."""
    files = sorted(space.work.glob('unpack*.jsonl'), key=lambda file: file.stat().st_mtime_ns)
    last = {record['name']: record for file in files for record in _records_in(file)}
    return [last[name] for name in sorted(last)]


def with_those_of_archives(space: Workspace, left_out: LeftOut) -> tuple[LeftOut, list[list[str]]]:
    """What is left out, with that of the archives; and the members that no file could have the name of, with
    the reason."""
    volumes = _unpacked(space)
    for volume in volumes:
        for suffix, (count, first) in volume.get('left_out', {}).items():
            before, path = left_out.get(suffix, (0, first))
            left_out[suffix] = [before + count, min(path, first)]
    return left_out, [
        [f'{volume["name"]}/{name}', why] for volume in volumes for name, why in volume.get('refused', ())
    ]
