"""Unpack archives as they are downloaded: tar in any compression, zip, files split in parts, zips that hold
parts.

Members are read one after the other and written under temporary names first, so that a file with its final
name is whole. A member whose name leads out of the folder stops the run before anything is written for it;
links and devices are passed over and counted; members whose name the file system cannot hold are named.
Nothing is written that would leave the disk without room: a zip says beforehand how much it needs, of other
archives each member is compared with what is free.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import shutil
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from data_prep.common.listing import is_meant
from data_prep.common.scanning import LeftOut, is_archive, note_suffix

__all__ = [
    'ArchiveError',
    'Unpacked',
    'Volume',
    'amount',
    'begins_as_archive',
    'find_volumes',
    'first_members',
    'read_texts',
    'unpack',
]

PART = re.compile(r'(?P<stem>.+?)(?:-|\.part|\.)(?P<number>\d{2,3}|[a-z]{2})')
# by what a stream begins with
DECOMPRESSORS = {b'\x1f\x8b': gzip.open, b'BZh': bz2.open, b'\xfd7zXZ': lzma.open}
BLOCK = 2**20
SPARE = 64 * 2**20  # bytes that are left free
LONGEST_HEADER = 2**20  # of a member's name and its like, which tarfile keeps in memory
UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    RuntimeError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    UnicodeDecodeError,
    OverflowError,
)  # what the modules of Python throw at damaged archives
UNNAMEABLE = {
    errno.ENAMETOOLONG: 'the name is longer than the file system allows',
    errno.EILSEQ: 'the file system takes no such name',
    errno.EINVAL: 'the file system takes no such name',
    errno.ENOTDIR: 'a file stands where the name needs a folder',
    errno.EEXIST: 'a file stands where the name needs a folder',
    errno.EISDIR: 'a folder has that name already',
}


class ArchiveError(ValueError):
    """An archive is cut off, damaged, incomplete or not to be trusted; the message names it, the member and
    the remedy."""


@dataclass(frozen=True)
class Volume:
    """One archive, in one or more parts that follow each other.

    Attributes:
        name: for messages and for the folder it is unpacked in.
        parts: (file, member): the file, and the member of it if the part stands in a zip.
    """

    name: str
    parts: tuple[tuple[str, str | None], ...]

    def open(self) -> BinaryIO:
        return io.BufferedReader(_Chain([lambda part=part: _open_part(*part) for part in self.parts]), BLOCK)

    def key(self) -> str:
        """Changes when a file of it changes."""
        return ' '.join(
            f'{os.path.basename(file)}:{os.stat(file).st_size}:{os.stat(file).st_mtime_ns}'
            for file, _ in self.parts
        )


@dataclass(frozen=True)
class Unpacked:
    """What came out of a volume.

    Attributes:
        written, there, passed_over: how many files are new, were there already, are no clips (links, devices,
            other kinds of files).
        refused: (member, why) of those that can have no file of their name.
        left_out: of the files passed over, those that are not hidden, by suffix.
    """

    written: int = 0
    there: int = 0
    passed_over: int = 0
    refused: tuple[tuple[str, str], ...] = ()
    left_out: LeftOut = field(default_factory=dict, compare=False)


def _open_part(file: str, member: str | None) -> BinaryIO:
    return open(file, 'rb') if member is None else zipfile.ZipFile(file).open(member)


class _Corrupt(ArchiveError):
    """Data do not fit their checksum, so anything read before may be wrong, too."""


class _Checked(io.RawIOBase):
    """What a compressed stream holds. By itself, tarfile does not look at the checksum."""

    def __init__(self, stream: io.BufferedReader):
        start = stream.peek(6)
        self._stream = next(
            (opener(stream) for magic, opener in DECOMPRESSORS.items() if start.startswith(magic)), stream
        )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        try:
            data = self._stream.read(len(buffer))
        except (zlib.error, lzma.LZMAError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the disk
                raise
            raise _Corrupt(error) from error
        buffer[: len(data)] = data
        return len(data)


class _Chain(io.RawIOBase):
    """Several streams read as one."""

    def __init__(self, openers: Sequence[Callable[[], BinaryIO]]):
        self._openers, self._current = iter(openers), None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while True:
            if self._current is None:
                opener = next(self._openers, None)
                if opener is None:
                    return 0
                self._current = opener()
            data = self._current.read(len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)
            self._current.close()
            self._current = None

    def close(self) -> None:
        if self._current is not None:
            self._current.close()
        super().close()


def begins_as_archive(file: Path) -> bool:
    """Whether a file is an archive, or the first part of one, by its first bytes."""
    if not file.is_file():  # a pipe, say
        return False
    with file.open('rb') as opened:
        start = opened.read(512)
    return start.startswith((*DECOMPRESSORS, b'PK\x03\x04', b'PK\x05\x06')) or start[257:262] == b'ustar'


def find_volumes(files: Sequence[Path]) -> list[Volume]:
    """Archives among ``files``; parts of one are put in order.

    First bytes decide where names mislead: numbered files that all begin as archives are archives of their
    own, and what is called an archive and does not begin as one is a part if its name is numbered.

    Raises:
        ArchiveError: a part is missing, or a zip is damaged.
    """
    parts: dict[str, dict[str, tuple[str, str | None]]] = defaultdict(dict)
    volumes = []
    of_their_own = _of_their_own(files)
    for file in sorted(files):
        if zipfile.is_zipfile(file) and not PART.fullmatch(file.name):
            inside = _parts_inside(file)
            for member in inside:
                match = PART.fullmatch(PurePosixPath(member).name)
                parts[match['stem']][match['number']] = str(file), member
            if not inside:
                volumes.append(Volume(_stem(file.name), ((str(file), None),)))
        elif file not in of_their_own and (match := PART.fullmatch(_part_name(file.name))):
            parts[str(file.parent / match['stem'])][match['number']] = str(file), None
        else:
            volumes.append(Volume(_stem(file.name), ((str(file), None),)))
    for stem, numbered in parts.items():
        if stem.lower().endswith('.zip'):
            raise ArchiveError(
                f'{stem}: parts of a zip are not read one after the other; join them first: '
                f'cat {os.path.basename(stem)}.* > {os.path.basename(stem)}'
            )
        _check_numbers(stem, sorted(numbered))
        volumes.append(
            Volume(_stem(os.path.basename(stem)), tuple(numbered[number] for number in sorted(numbered)))
        )
    volumes.sort(key=lambda volume: volume.parts)
    return _with_distinct_names(volumes)


def _part_name(name: str) -> str:
    """The name of a part; a suffix behind its number was put there by who saved it (x-00.zip)."""
    return _stem(name) if _is_whole_name(name) else name


def _of_their_own(files: Sequence[Path]) -> set[Path]:
    """The numbered files that are no parts: all of a series begin as archives, or one is called as one and
    does."""
    series: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        if match := PART.fullmatch(_part_name(file.name)):
            series[str(file.parent / match['stem'])].append(file)
    return {
        file
        for some in series.values()
        if all(map(begins_as_archive, some)) and (len(some) > 1 or _is_whole_name(some[0].name))
        for file in some
    }


def _is_whole_name(name: str) -> bool:
    return re.fullmatch(r'.+\.(zip|tar|tgz|tar\.(gz|bz2|xz))', name, re.IGNORECASE) is not None


def _parts_inside(file: Path) -> list[str]:
    """Members of a zip that are parts of an archive; none if it holds the clips themselves."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [
                name
                for name in archive.namelist()
                if not name.endswith('/') and not PurePosixPath(name).name.startswith('.')
            ]
    except (*UNREADABLE, OSError) as error:
        raise ArchiveError(f'{file}: not a whole zip ({error}); download it again') from error
    of_parts = [
        name
        for name in names
        if is_archive(PurePosixPath(name).name) and not _is_whole_name(PurePosixPath(name).name)
    ]
    return of_parts if len(of_parts) == len(names) else []


def _stem(name: str) -> str:
    return re.sub(r'\.(zip|tar|tgz|tar\.(gz|bz2|xz))$', '', name, flags=re.IGNORECASE) or name


def _check_numbers(stem: str, numbers: list[str]) -> None:
    """Parts count 00, 01, … or aa, ab, …; a gap means that a download is missing."""

    def value(number: str) -> int:
        return (
            int(number)
            if number.isdigit()
            else sum((ord(c) - 97) * 26**i for i, c in enumerate(reversed(number)))
        )

    if value(numbers[0]) not in (0, 1):
        raise ArchiveError(
            f'{stem}: the first part found is {numbers[0]}; the parts before it are missing, download them'
        )
    for one, other in zip(numbers, numbers[1:]):
        if value(other) != value(one) + 1:
            raise ArchiveError(
                f'{stem}: part {other} follows part {one}; those between them are missing, download them'
            )


def _with_distinct_names(volumes: list[Volume]) -> list[Volume]:
    """Two archives of the same name (train/part_0, val/part_0) get the name of their folder before it."""
    names = [volume.name for volume in volumes]
    result = []
    for volume in volumes:
        folder = os.path.basename(os.path.dirname(volume.parts[0][0]))
        result.append(
            Volume(f'{folder}/{volume.name}', volume.parts) if names.count(volume.name) > 1 else volume
        )
    return result


# ---- unpacking


def unpack(
    volume: Volume,
    folder: Path,
    temporary: Path,
    largest: int,
    wanted: Callable[[str], bool] = lambda name: True,
) -> Unpacked:
    """Write the members of ``volume`` into ``folder``; those that stand there whole are left.

    Args:
        temporary: a file beside ``folder`` to write to before the final name is given.
        largest: bytes that a member may have.
        wanted: of a member's name, with its folders; others are passed over.

    Raises:
        ArchiveError: see the module.
        OSError: a file cannot be written.
    """
    temporary.parent.mkdir(parents=True, exist_ok=True)
    spellings = _Spellings(temporary.parent)
    counts = dict(written=0, there=0, passed_over=0)
    count, refused, left_out = 0, [], {}
    try:
        _check_room(volume, folder, temporary.parent, wanted)
        for name, size, opener in _members(volume):
            count += 1
            if opener is None or not wanted(name):
                counts['passed_over'] += 1
                if opener is not None and not _last(name).startswith('.'):
                    note_suffix(left_out, f'{volume.name}/{name}')
                continue
            parts = _safe(volume, name)
            if size > largest:
                raise ArchiveError(
                    f'{volume.name}: member {name!r} has {size} bytes, more than the {largest} allowed; raise'
                    ' --max-member if that is right'
                )
            target = folder.joinpath(*parts)
            why = spellings.clash(parts) or _unnameable(target)
            if why is not None:
                refused.append((name, why))
            elif target.is_file() and target.stat().st_size == size:
                counts['there'] += 1
            else:
                _write(volume, name, size, opener, target, temporary)
                counts['written'] += 1
    except _Corrupt as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ArchiveError(
            f'{volume.name}: damaged after {count} members ({error}); download it again: what was unpacked is'
            ' removed, since it is not known which of it is right'
        ) from error
    except UNREADABLE as error:
        raise ArchiveError(
            f'{volume.name}: damaged or cut off after {count} members ({error}); download it again: what was'
            ' unpacked stays'
        ) from error
    if not count:
        raise ArchiveError(f'{volume.name}: holds nothing; is it an archive?')
    return Unpacked(**counts, refused=tuple(refused), left_out=left_out)


def first_members(
    volume: Volume, suffixes: Sequence[str], names: Collection[str] | None, most: int, folder: Path
) -> list[Path]:
    """Write the first members with one of the suffixes, and a name that :func:`is_meant`, into ``folder``.

    Raises:
        ArchiveError: it is damaged before them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        for name, size, opener in _members(volume):
            suffix = os.path.splitext(name)[1].lower()
            if opener is None or suffix not in suffixes or not (names is None or is_meant(name, names)):
                continue
            target = folder / f'{len(written)}{suffix}'
            _write(volume, name, size, opener, target, folder / 'member')
            written.append(target)
            if len(written) == most:
                break
    except UNREADABLE as error:
        raise ArchiveError(f'{volume.name}: damaged or cut off ({error}); download it again') from error
    return written


def _last(name: str) -> str:
    """The part of a member's name that its file has."""
    return PurePosixPath(name or '-').name


def _check_room(volume: Volume, folder: Path, disk: Path, wanted: Callable[[str], bool]) -> None:
    """Of a zip, whose table tells all sizes beforehand."""
    if not _is_zip(volume):
        return
    sizes = [
        size
        for name, size, opener in _members(volume)
        if opener is not None and wanted(name) and not _has_size(folder.joinpath(*_safe(volume, name)), size)
    ]
    _demand(volume, f'{len(sizes)} files to be unpacked', sum(sizes), disk)


def _has_size(file: Path, size: int) -> bool:
    try:
        return file.is_file() and file.stat().st_size == size
    except OSError:  # a name that no file can have
        return False


def _demand(volume: Volume, what: str, size: int, disk: Path) -> None:
    free = shutil.disk_usage(disk).free
    if size + SPARE > free:
        raise ArchiveError(
            f'{volume.name}: {what} would take {amount(size)}, and {amount(free)} are free in {disk}, of'
            f' which {amount(SPARE)} are kept; make room there and run the same command again (what is'
            ' unpacked stays), or name an --out on a larger disk. If the archive should not be as large as'
            ' that, do not trust it'
        )


def amount(size: int) -> str:
    """Bytes, for a message."""
    return f'{size / 2**30:,.1f} GiB' if size >= 2**30 else f'{size / 2**20:,.1f} MiB'


def _unnameable(target: Path) -> str | None:
    """Why no file can have this name; None if one can. Makes the folder that it goes to."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            return UNNAMEABLE[errno.EISDIR]
        with suppress(FileNotFoundError):
            os.lstat(target)
    except OSError as error:
        if error.errno not in UNNAMEABLE:
            raise
        return UNNAMEABLE[error.errno]
    except ValueError as error:  # a NUL, or letters that the system's encoding lacks
        return f'the file system takes no such name ({error})'
    return None


class _Spellings:
    """Names that would be one file or folder on a disk that does not tell upper from lower case."""

    def __init__(self, folder: Path):
        self._first: dict[str, str] | None = {} if _folds_case(folder) else None

    def clash(self, parts: Sequence[str]) -> str | None:
        """Why the member cannot have its name, if an earlier one has it, or its folder's, in another
        spelling."""
        for end in range(1, len(parts) + 1) if self._first is not None else ():
            name = '/'.join(parts[:end])
            first = self._first.setdefault(unicodedata.normalize('NFC', name).casefold(), name)
            if first != name:
                return f'{first!r} is there already, and this disk does not tell the two names apart'
        return None


def _folds_case(folder: Path) -> bool:
    probe = folder / 'Case'
    probe.touch()
    try:
        return (folder / 'cASE').exists()
    finally:
        probe.unlink()


class _Header(tarfile.TarInfo):
    """Of a member. By itself, tarfile takes a damaged header, or the end of the file instead of one, for the
    end of the archive."""

    @classmethod
    def frombuf(cls, *args: object) -> tarfile.TarInfo:
        info = super().frombuf(*args)
        if not (info.isreg() or info.isdir()) and info.size > LONGEST_HEADER:
            raise tarfile.ReadError(f'a header of {amount(info.size)}, which no archive of clips has')
        return info

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # the mark at its end
            raise
        except tarfile.InvalidHeaderError as error:
            raise _Corrupt(f'{error} where a member should begin') from error
        except tarfile.HeaderError as error:
            raise EOFError(f'{error} where a member should begin') from error


def _members(volume: Volume) -> Iterator[tuple[str, int, Callable[[], BinaryIO] | None]]:
    """(name, size, opener) of the members; the opener of what is no plain file is None."""
    if _is_zip(volume):
        with zipfile.ZipFile(volume.parts[0][0]) as archive:
            for info in archive.infolist():
                # the high bits are Unix's kind of file
                plain = not info.is_dir() and (info.external_attr >> 28) in (0, 0o10)
                if not info.is_dir():
                    yield (
                        info.filename,
                        info.file_size,
                        (lambda info=info: archive.open(info)) if plain else None,
                    )
        return
    with (
        volume.open() as stream,
        _Checked(stream) as data,
        tarfile.open(fileobj=data, mode='r|', tarinfo=_Header) as archive,
    ):
        while (info := archive.next()) is not None:
            archive.members.clear()  # it would keep millions of them
            if not info.isdir():
                yield (
                    info.name,
                    info.size,
                    (lambda info=info: archive.extractfile(info)) if info.isreg() else None,
                )
        while data.read(BLOCK):  # the checksum stands at the end
            pass


def _is_zip(volume: Volume) -> bool:
    file, member = volume.parts[0]
    return len(volume.parts) == 1 and member is None and zipfile.is_zipfile(file)


def _safe(volume: Volume, name: str) -> tuple[str, ...]:
    path = PurePosixPath(name.replace('\\', '/'))
    if path.is_absolute() or '..' in path.parts or re.match(r'[A-Za-z]:', name):
        raise ArchiveError(
            f'{volume.name}: member {name!r} leads out of the folder it is unpacked in; this is no archive of'
            ' the dataset, do not trust it'
        )
    return path.parts


def _write(
    volume: Volume, name: str, size: int, opener: Callable[[], BinaryIO], target: Path, temporary: Path
) -> None:
    _demand(volume, f'member {name!r}', size, temporary.parent)
    left = size
    with opener() as source, temporary.open('wb') as out:
        while block := source.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise ArchiveError(
                    f'{volume.name}: member {name!r} is larger than the {size} bytes it claims; do not'
                    ' trust it'
                )
            out.write(block)
    if left:
        raise ArchiveError(
            f'{volume.name}: member {name!r} ends {left} bytes early; download the archive again'
        )
    os.replace(temporary, target)  # of a million members, none waits for the disk as write_atomically does


def read_texts(file: Path, suffixes: Sequence[str], largest: int = 2**30) -> Iterator[tuple[str, bytes]]:
    """(path, content) of the files of a zip with one of the suffixes; a folder that holds all of them is left
    out, unless it is called ``labels``.

    Raises:
        ArchiveError: it is damaged, a name leads out of the folder, or a file is larger than ``largest``.
    """
    volume = Volume(file.name, ((str(file), None),))
    try:
        with zipfile.ZipFile(file) as archive:
            found = {
                _safe(volume, info.filename): info
                for info in archive.infolist()
                if info.filename.lower().endswith(tuple(suffixes))
                and not _last(info.filename).startswith('.')
            }
            tops = {parts[0] if len(parts) > 1 else '' for parts in found}
            start = 1 if len(tops) == 1 and not tops & {'', 'labels'} else 0
            for parts, info in found.items():
                if info.file_size > largest:
                    raise ArchiveError(
                        f'{file}: {info.filename} has {info.file_size:,} bytes, as no list has'
                    )
                yield '/'.join(parts[start:]), archive.read(info)
    except (*UNREADABLE, OSError) as error:
        raise ArchiveError(f'{file}: not a whole zip ({error}); download it again') from error
