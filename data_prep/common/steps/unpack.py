"""The step unpack: the folder that the clips lie in, and archives -> OUT/source and work/unpack.jsonl."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from data_prep.common.archives import ArchiveError, Volume, find_volumes, unpack
from data_prep.common.records import Record, read_lines, write_lines
from data_prep.common.scanning import IMAGES, VIDEOS, LeftOut, is_archive, is_frame, walk
from data_prep.common.workspace import PreparationError, Workspace

__all__ = ['find_root', 'unpack_archives', 'with_those_of_archives']

logger = logging.getLogger('data_prep')


def find_root(videos: Sequence[Path], space: Workspace, also: Collection[str]) -> tuple[Path, list[Path]]:
    """The folder that paths of clips start from, and the archives to be unpacked in it.

    Args:
        videos: a folder of videos or of frames, a folder of archives, or archives.
        also: suffixes of files that are videos, too.

    Returns:
        A folder with clips and no archives; or ``space.source`` and the archives.
    """
    archives = [path for path in videos if path.is_file()]
    folders = [path for path in videos if path.is_dir()]
    if archives and folders:
        raise PreparationError(
            f'--videos names archives ({archives[0]}) and folders ({folders[0]}); name one kind'
        )
    if len(folders) > 1:
        raise PreparationError(
            f'--videos names {len(folders)} folders; name one that holds them all (links are followed)'
        )
    if folders:
        if space.out.resolve().is_relative_to(folders[0].resolve()):
            raise PreparationError(
                f'--out ({space.out}) lies inside --videos ({folders[0]}): what is prepared would pass for'
                ' videos; name a folder beside it'
            )
        archives = _archives_alone(folders[0], also)
        if not archives:
            return folders[0], []
    return space.source, archives


def _archives_alone(folder: Path, also: Collection[str]) -> list[Path]:
    """The archives in a folder, unless videos or frames stand there, too: then they have been unpacked
    already."""
    archives, loose = [], False
    for where, names in walk(os.fspath(folder)):
        archives += [Path(where, name) for name in names if is_archive(name)]
        loose = any(
            os.path.splitext(name)[1].lower() in VIDEOS or is_frame(name) or _is_also(name, also)
            for name in names
        )
        if loose:
            break
    if loose and archives:
        logger.warning(
            '%s holds archives (%s, …) beside videos; the videos are taken and the archives are not read:'
            ' name the archives in --videos to unpack them',
            folder,
            archives[0].name,
        )
    return [] if loose else archives


def unpack_archives(
    archives: Sequence[Path], space: Workspace, also: Sequence[str], largest_member: int
) -> None:
    """Unpack into ``space.source`` what was not unpacked before.

    Args:
        also: suffixes of files that are videos, too.
        largest_member: bytes that a file may have.

    Raises:
        ArchiveError, OSError: see :func:`~data_prep.common.archives.unpack`; a broken archive does not keep
            the others from being unpacked, and the error at the end names all that are broken.
        PreparationError: a shard would unpack.
    """
    volumes, broken = find_volumes(archives), []
    done = {record['name']: record for record in _unpacked(space)}
    for volume in volumes:
        key = ' '.join((volume.key(), *also))
        if done.get(volume.name, {}).get('key') == key:
            logger.info('%s was unpacked before', volume.name)
            continue
        if space.is_sharded:
            raise PreparationError(
                'archives are unpacked by one run: run the step unpack without --shard first (--steps unpack)'
            )
        try:
            result = _unpack(volume, space, also, largest_member)
        except ArchiveError as error:
            logger.error('%s', error)
            broken.append(error)
            continue
        done[volume.name] = {'name': volume.name, 'key': key, **result}
        write_lines(_unpacked_file(space), (done[name] for name in sorted(done)))
    space.source.mkdir(parents=True, exist_ok=True)
    if len(broken) == 1:
        raise broken[0]
    if broken:
        raise ArchiveError(
            f'{len(broken)} of {len(volumes)} archives are not unpacked whole: '
            + '; '.join(str(error) for error in broken)
        )


def _unpack(volume: Volume, space: Workspace, also: Sequence[str], largest_member: int) -> Record:
    logger.info('unpacking %s (%d file(s))', volume.name, len(volume.parts))
    result = unpack(
        volume,
        space.source / volume.name,
        space.temporary / 'member',
        largest_member,
        partial(_is_of_clips, also=also),
    )
    logger.info(
        '%s: %d files written, %d there already, %d passed over',
        volume.name,
        result.written,
        result.there,
        result.passed_over,
    )
    if result.refused:
        logger.warning(
            '%s: %d files cannot have their names here, e.g. %r: %s',
            volume.name,
            len(result.refused),
            *result.refused[0],
        )
    return {'left_out': result.left_out, 'refused': result.refused}


def _is_of_clips(name: str, also: Collection[str] = ()) -> bool:
    return not name.startswith('.') and (
        os.path.splitext(name)[1].lower() in VIDEOS + IMAGES or _is_also(name, also)
    )


def _is_also(name: str, also: Collection[str]) -> bool:
    return os.path.splitext(name)[1].lower() in also and not is_archive(name)


def _unpacked_file(space: Workspace) -> Path:
    return space.work / 'unpack.jsonl'


def _unpacked(space: Workspace) -> list[Record]:
    file = _unpacked_file(space)
    return list(read_lines(file)) if file.is_file() else []


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
