"""Sets without an annotation of their own form: class folders, lists of ``path label``, CSV files with
columns.

    train/jumping jacks/17.mp4    class folders, below folders named as splits or not: read_folders
    17.mp4 3                      a list in a form of gfvideo.data.manifest.LIST_FORMS: read_listing
    path,label,split              a CSV with a header, columns in any order: read_listing
    clips/17.mp4,jumping jacks,train

Labels are numbers from 0, or names; which of the two, the first row says and the others must follow. In a
list, names may hold spaces where a class list is given. Classes are numbered as in the class list if there is
one (``category.txt``, ``classes.txt`` or ``classInd.txt`` beside the lists is taken by itself); else names
are sorted, and numbers are their own names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from data_prep.annotations.huggingface import metadata_files, metadata_rows
from data_prep.common.listing import (
    SPLIT_WORDS,
    SPLITS,
    AnnotationError,
    Found,
    Indexed,
    Listed,
    Listing,
    MisplacedError,
    ambiguous,
    check_classes,
    class_of,
    columns_of,
    count_splits,
    csv_rows,
    find_file,
    given,
    leaked,
    missing,
    read_class_list,
    some,
    text_lines,
    whole_number,
)
from data_prep.common.splitting import Division, divide
from gfvideo.data.content import common_folder
from gfvideo.data.manifest import LIST_FORMS, read_classes

__all__ = ['CLASS_LISTS', 'FORMS', 'FolderClip', 'match', 'read_folders', 'read_listing']

FORMS = ('csv', 'huggingface', *LIST_FORMS)
SOUGHT = {
    None: ('video', 'frames'),
    'video': ('video', 'frames'),
    'frames': ('frames', 'video'),
    'image': ('image',),
}
FRAME_FORMS = ('mmaction2_frames', 'tsm')
CLASS_LISTS = ('category.txt', 'classes.txt', 'classInd.txt')
LIST_NAMES = ('{}.txt', '{}.csv', '{}_videofolder.txt', '{}_list_videos.txt', '{}_list_rawframes.txt')
LIST_SUFFIXES = ('.txt', '.csv', '.list')
FRAME_WORDS, VIDEO_WORDS = ('frames', 'folder', 'split'), ('video', 'split')
COLUMNS = ('path', 'label', 'split')


@dataclass(frozen=True, slots=True)
class FolderClip(Listed):
    """A clip that is listed by its path; its id is the path as listed, or where all paths are absolute, that
    from the deepest folder that holds them all.

    Attributes:
        kind: ``'video'``, ``'frames'`` or ``'image'``; None if the list does not say it.
        path: as listed; '' if it is the id.
    """

    kind: str | None = None
    path: str = ''


@dataclass(frozen=True, slots=True)
class Row:
    """One row as written. ``label`` is text, '' for none."""

    line: int
    split: str
    path: str
    label: str
    kind: str | None


# ---------------------------------------------------------------------------------------------- class folders


def read_folders(found: Found, split: str | None = None, division: Division | None = None) -> Listing:
    """The clips of ``<split>/<class>/<clip>``, or of ``<class>/<clip>`` with the name of their split or how
    they are divided; videos or folders of images.

    Args:
        split: ``'train'``, ``'val'`` or ``'test'`` if the class folders are not below folders named as
            splits.
        division: of clips that are not below folders named as splits; instead of ``split``.

    Returns:
        Clips sorted by path, with the path as id; classes are the names of the folders, sorted.

    Raises:
        AnnotationError: naming a path that does not fit, and what is expected.
    """
    _check_split(split)
    if split is not None and division is not None:
        raise ValueError(f'split is {split!r}, but clips are to be divided; give one of the two')
    there = sorted(
        (path, kind)
        for kind in ('video', 'frames', 'image')
        for paths in found.named(kind).values()
        for path in paths
    )
    names = _below(found.tops, [path for path, _ in there], 3 if split is None and division is None else 2)
    listed = {names[path]: path for path, _ in there}
    paths = sorted((names[path], kind) for path, kind in there)
    holding = {str(parent) for path, _ in paths for parent in PurePosixPath(path).parents}
    stray = [path for path, kind in paths if kind == 'frames' and path in holding]
    rows = [
        (*_place_in_tree(path, split, divided=division is not None), path, kind)
        for path, kind in paths
        if kind != 'frames' or path not in holding
    ]
    if not rows:
        raise AnnotationError(
            'the folder of videos holds no video and no folder of images; name the folder that holds the'
            ' class folders'
        )
    warnings, groups = [], {}
    if division is not None:
        homes, groups, warnings = divide({path: name for _, name, path, _ in rows}, division)
        rows = [(homes[path], name, path, kind) for _, name, path, kind in rows]
    classes = tuple(sorted({name for _, name, _, _ in rows}))
    numbers = {name: number for number, name in enumerate(classes)}
    clips = [
        FolderClip(
            home, path, numbers[name], listed[path], 1, kind, '' if listed[path] == path else listed[path]
        )
        for home, name, path, kind in rows
    ]
    if stray:
        warnings.append(
            f'{len(stray)} folders hold images beside their clips; the images are not used: {some(stray)}'
        )
    if split is None and division is None:
        warnings += leaked(((clip.split, clip.id.partition('/')[2]) for clip in clips), 'clips')
    warnings += check_classes(classes, clips)
    official = count_splits(clip.split for clip in clips)
    return Listing(classes, 'sorted', clips, official, warnings=warnings, groups=groups)


def _below(tops: Sequence[str], paths: Sequence[str], depth: int) -> dict[str, str]:
    """Path -> the path without the folders that an archive, or one of several folders of videos, has above
    its class folders, if all of its clips have the same ones.

    Args:
        tops: see :class:`Found`.
        depth: of a clip below the folder that holds the class folders, or those of the splits.

    Raises:
        AnnotationError: if two paths would be one.
    """
    names = {path: path for path in paths}
    for top in tops:
        own = [path for path in paths if path.startswith(f'{top}/')]
        above = {tuple(path.split('/')[:-depth]) for path in own}
        if len(above) == 1 and all(len(path.split('/')) >= depth for path in own):
            names |= {path: '/'.join(path.split('/')[-depth:]) for path in own}
    first: dict[str, str] = {}
    for path, name in names.items():
        if first.setdefault(name, path) != path:
            raise AnnotationError(
                f'{path}: is {name} as {first[name]} is, in another archive or folder; keep one, or rename it'
            )
    return names


def _check_split(split: str | None) -> None:
    if split not in (None, *SPLITS):
        raise ValueError(f'split is {split!r}; use one of {", ".join(SPLITS)}')


def _place_in_tree(path: str, split: str | None, divided: bool) -> tuple[str, str]:
    """``(split, class)`` of a path; the split is '' if it is to be divided."""
    parts = path.split('/')
    if split is not None or divided:
        if len(parts) != 2:
            raise MisplacedError(
                f'{path}: does not stand at <class>/<clip>; move it, or give no'
                f' {"share" if divided else "split"} if the folders are named as splits'
            )
        return split or '', parts[0]
    if len(parts) != 3:
        raise MisplacedError(
            f'{path}: does not stand at <split>/<class>/<clip>; move it, or give the split, or the share of'
            ' validation clips, if all are at <class>/<clip>'
        )
    if parts[0].lower() not in SPLIT_WORDS:
        raise AnnotationError(
            f'{path}: {parts[0]!r} is no name of a split; name the folder {", ".join(SPLIT_WORDS)}'
        )
    return SPLIT_WORDS[parts[0].lower()], parts[1]


# ---------------------------------------------------------------------------------------------- lists and CSV


def read_listing(
    annotations: Path | Mapping[str, Path],
    form: str,
    *,
    classes: Path | Sequence[str] | None = None,
    split: str | None = None,
) -> Listing:
    """Read lists of paths with labels.

    Args:
        annotations: a folder with a file per split (``train.txt``, ``val.csv``, ``train_videofolder.txt``,
            …); or split -> file; or one file, whose clips belong to ``split`` or, for a CSV, to the split
            that its column says.
        form: ``'csv'`` (columns path,label[,split]), ``'huggingface'`` (a folder with metadata.csv or
            metadata.jsonl in it, see :mod:`data_prep.annotations.huggingface`) or a form of ``LIST_FORMS``.
        classes: class names in label order, or the file that lists them (one a line; JSON as
            ``gfvideo.data.manifest.read_classes`` reads).
        split: the split of the one file ``annotations``.

    Returns:
        Clips of type :class:`FolderClip`. ``label_order`` is the name of the class list, ``'given'``,
        ``'sorted'`` (names without a class list) or ``'numbers'`` (numbers without one). Test rows of a CSV
        may lack a label.

    Raises:
        AnnotationError: naming file, line, value and remedy.
    """
    if form not in FORMS:
        raise ValueError(f'form is {form!r}; use one of {", ".join(FORMS)}')
    _check_split(split)
    files = _files(annotations, split, form) if form != 'huggingface' else _metadata(annotations, split)
    names, label_order = _known_classes(annotations, classes)
    rows = [(file, row) for home, file in files for row in _rows(file, form, home, names, annotations)]
    _check_signs(rows, names)
    by_number = _labels_are_numbers(rows, names)
    if names is None and by_number:
        names, label_order = _numbers_as_names(rows), 'numbers'
    elif names is None:
        names, label_order = tuple(sorted({row.label for _, row in rows if row.label})), 'sorted'
    clips = list(_numbered(rows, names, by_number))
    warnings = [*leaked(((clip.split, clip.id) for clip in clips), 'clips'), *check_classes(names, clips)]
    return Listing(names, label_order, clips, count_splits(clip.split for clip in clips), warnings=warnings)


def _files(
    annotations: Path | Mapping[str, Path], split: str | None, form: str
) -> list[tuple[str | None, Path]]:
    """``(split, file)`` pairs; the split is None where the file must say it."""
    if not isinstance(annotations, Mapping) and not annotations.is_dir():
        annotations = {split: annotations}
    elif split is not None:
        raise ValueError(f'split is {split!r}, but several files are given; leave it out')
    if isinstance(annotations, Mapping):
        for home, file in annotations.items():
            _check_split(home)
            if not file.is_file():
                raise AnnotationError(f'{file}: there is no such file; correct the path')
        return list(annotations.items())
    stems = {home: [stem for stem, of in SPLIT_WORDS.items() if of == home] for home in SPLITS}
    found = [
        (
            home,
            find_file(annotations, [name.format(stem) for stem in of for name in LIST_NAMES], required=False),
        )
        for home, of in stems.items()
    ]
    files = [(home, file) for home, file in found if file is not None]
    files = files or _files_named_otherwise(annotations, form)
    if not files:
        raise AnnotationError(
            f'{annotations}: holds no list such as {", ".join(name.format("train") for name in LIST_NAMES)};'
            ' name the folder that does, or the files'
        )
    return files


def _files_named_otherwise(folder: Path, form: str) -> list[tuple[str | None, Path]]:
    """Lists with more than their split in their names, as they lie in the repositories of others:
    ``kinetics400_train_list_videos.txt``, ``sthv2_val_list_rawframes.txt``, ``actnet_train_split.txt``.

    Raises:
        AnnotationError: if a split has several.
    """
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        words = re.findall(r'[a-z]+', file.stem.lower())
        homes = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
        if file.suffix.lower() in LIST_SUFFIXES and file.is_file() and len(homes) == 1:
            found.setdefault(homes.pop(), []).append(file)
    of_form = FRAME_WORDS if form in FRAME_FORMS else VIDEO_WORDS
    for split, files in found.items():
        meant = [file for file in files if any(word in file.stem.lower() for word in of_form)] or files
        if len(meant) > 1:
            raise AnnotationError(
                f'{folder}: {some([file.name for file in meant])} could all be the list of split {split!r};'
                ' keep the one that is meant in a folder of its own, or name it alone'
            )
        found[split] = meant
    return [(split, found[split][0]) for split in SPLITS if split in found]


def _metadata(annotations: Path | Mapping[str, Path], split: str | None) -> list[tuple[str | None, Path]]:
    if isinstance(annotations, Mapping) or not annotations.is_dir():
        raise AnnotationError(
            f'{annotations}: name the folder of the dataset, which holds the metadata files'
        )
    return [(split, file) for file in metadata_files(annotations)]


def _known_classes(
    annotations: Path | Mapping[str, Path], classes: Path | Sequence[str] | None
) -> tuple[tuple[str, ...] | None, str]:
    """``(class names or None, where their order comes from)``."""
    if classes is None and isinstance(annotations, Path) and annotations.is_dir():
        classes = find_file(annotations, CLASS_LISTS, required=False) or _other_class_list(annotations)
    if classes is None:
        return None, ''
    if not isinstance(classes, Path):
        if not classes or isinstance(classes, str) or len(set(classes)) < len(classes):
            raise ValueError(
                f'classes is {classes!r}; give the names, each once, or the path of the file that lists them'
            )
        return tuple(classes), 'given'
    if classes.suffix != '.json':
        return read_class_list(classes), classes.name
    try:
        return read_classes(classes), classes.name
    except (ValueError, FileNotFoundError, RecursionError) as error:
        raise AnnotationError(str(error)) from error


def _other_class_list(folder: Path) -> Path | None:
    """``label_map_k400.txt``, ``minik_classInd.txt`` and the like; None if there is none, or are several."""
    files = [
        file
        for pattern in ('*label_map*.txt', '*classInd*.txt', '*categor*.txt')
        for file in folder.glob(pattern)
    ]
    return files[0] if len(files) == 1 else None


def _rows(
    file: Path, form: str, split: str | None, classes: Sequence[str] | None, folder: Path | Mapping[str, Path]
) -> list[Row]:
    """The rows of one file, each path once in its split."""
    if form not in ('csv', 'huggingface') and split is None:
        raise AnnotationError(f'{file}: a list of the form {form!r} does not say its split; give the split')
    if form == 'huggingface':
        rows = [Row(*row, None) for row in metadata_rows(file, folder, split)]
    else:
        rows = list(_csv_rows(file, split) if form == 'csv' else _list_rows(file, form, split, classes))
    if not rows:
        raise AnnotationError(f'{file}:1: lists no clip; give a file with one clip a line')
    lines: dict[tuple[str, str], int] = {}
    for row in rows:
        earlier = lines.setdefault((row.split, row.path), row.line)
        if earlier != row.line:
            raise AnnotationError(
                f'{file}:{row.line}: {row.path[:200]!r} stands on line {earlier} already; remove one'
            )
    return rows


def _csv_rows(file: Path, split: str | None) -> Iterator[Row]:
    rows = csv_rows(file)
    line, header = next(rows, (1, []))
    at = columns_of(file, line, header, COLUMNS[:2] if split else COLUMNS, COLUMNS)
    for line, fields in rows:
        if len(fields) != len(header):
            raise AnnotationError(
                f'{file}:{line}: the row has {len(fields)} fields, the header {len(header)}:'
                f' {",".join(fields)!r}; quote fields that hold a comma'
            )
        home = SPLIT_WORDS.get(fields[at['split']].lower()) if 'split' in at else split
        if home is None or split not in (None, home):
            expected = ' or '.join(repr(word) for word, of in SPLIT_WORDS.items() if split in (None, of))
            raise AnnotationError(
                f'{file}:{line}: split is {fields[at["split"]]!r}, expected {expected}; correct the row or'
                ' move it'
            )
        path, label = fields[at['path']], fields[at['label']]
        if not path:
            raise AnnotationError(f'{file}:{line}: the path is empty; give every clip its path')
        if not label and home != 'test':
            raise AnnotationError(
                f'{file}:{line}: {path!r} in split {home!r} has no label; only test rows may lack it'
            )
        yield Row(line, home, path, label, None)


def _list_rows(file: Path, form: str, split: str, classes: Sequence[str] | None) -> Iterator[Row]:
    """The rows of a list. The form's own parser reads lines that end in a number, so a name at the end is put
    aside first."""
    tail_of: Callable[[str], str] = (
        _last_word if classes is None else partial(_class_at_end, frozenset(classes), max(map(len, classes)))
    )
    for line, text in text_lines(file):
        tail = tail_of(text)
        try:
            row = LIST_FORMS[form](f'{file}:{line}', f'{text.removesuffix(tail)}0' if tail else text)
        except ValueError as error:
            raise AnnotationError(
                f'{file}:{line}: {text[:300]!r} is no line of the form {form!r} ({_bare(error, file, line)});'
                ' correct the line, name the form it has, or give the class list if labels are names with'
                ' spaces'
            ) from error
        yield Row(line, split, row.path, tail, 'frames' if form in FRAME_FORMS else 'video')


def _bare(error: ValueError, file: Path, line: int) -> str:
    return str(error).removeprefix(f'{file}:{line}: ')


def _last_word(text: str) -> str:
    return re.split(r'[\s,]', text)[-1]


def _class_at_end(classes: frozenset[str], longest: int, text: str) -> str:
    """The longest class name that the line ends in, after a space or comma; the last word if there is
    none."""
    end = text[-longest - 1 :]
    starts = (match.end() for match in re.finditer(r'[\s,]', end))
    return next((end[start:] for start in starts if end[start:] in classes), _last_word(text))


# ----------------------------------------------------------------------------------------------------- labels


def _check_signs(rows: Sequence[tuple[Path, Row]], classes: Sequence[str] | None) -> None:
    """Refuse -1 and the like, which would pass for the name of a class."""
    known = frozenset(classes or ())
    for file, row in rows:
        if re.fullmatch(r'[-+]\d+', row.label) and row.label not in known:
            raise AnnotationError(
                f'{file}:{row.line}: the label of {row.path[:200]!r} is {row.label!r}; labels count from 0,'
                ' so correct it, or leave the row out if it says that the clip has no label'
            )


def _labels_are_numbers(rows: Sequence[tuple[Path, Row]], classes: Sequence[str] | None) -> bool:
    first = next((row.label for _, row in rows if row.label), '')
    return whole_number(first) is not None and (classes is None or first not in classes)


def _numbers_as_names(rows: Sequence[tuple[Path, Row]]) -> tuple[str, ...]:
    """The names '0', '1', … up to the largest label; without a class list, a label 0 must occur."""
    numbers = {_number(file, row): (file, row) for file, row in rows if row.label}
    if 0 not in numbers:
        file, row = numbers[min(numbers)]
        raise AnnotationError(
            f'{file}:{row.line}: {row.label!r} is the least label and no clip has the label 0; labels count'
            ' from 0: subtract the least, or give the class list'
        )
    if max(numbers) >= 10 * len(rows) + 1000:
        file, row = numbers[max(numbers)]
        raise AnnotationError(
            f'{file}:{row.line}: the label is {row.label!r} in a list of {len(rows)} clips; correct it, or'
            ' give the class list'
        )
    return tuple(str(number) for number in range(max(numbers) + 1))


def _number(file: Path, row: Row) -> int:
    number = whole_number(row.label)
    if number is None:
        raise AnnotationError(
            f'{file}:{row.line}: the label of {row.path[:200]!r} is {row.label!r}, but the first label is a'
            ' number; use numbers from 0 throughout, or names'
        )
    return number


def _numbered(
    rows: Sequence[tuple[Path, Row]], classes: Sequence[str], by_number: bool
) -> Iterator[FolderClip]:
    numbers = {name: number for number, name in enumerate(classes)}
    start = len(common_folder([row.path for _, row in rows]))
    for file, row in rows:
        label = None
        if row.label and by_number:
            label = _number(file, row)
            if label >= len(classes):
                raise AnnotationError(
                    f'{file}:{row.line}: the label of {row.path[:200]!r} is {label}, outside'
                    f' 0..{len(classes) - 1} ({len(classes)} classes); labels count from 0'
                )
        elif row.label:
            label = numbers.get(row.label)
            if label is None:
                raise AnnotationError(
                    f'{file}:{row.line}: the label of {row.path[:200]!r} is {row.label!r}, none of the'
                    f' {len(classes)} classes; correct it or the class list'
                )
        listed = row.path if start else ''
        yield FolderClip(row.split, row.path[start:], label, str(file), row.line, row.kind, listed)


# ------------------------------------------------------------------------------------------------------ match


def match(listing: Listing, found: Found) -> Iterator[Indexed]:
    """Give every clip the file or folder that its listed path means; in the order of the listing.

    That is the one with the very path below the folder of videos; else the one whose path ends in the whole
    listed path, or which the listed path ends in (an absolute path, or one with more folders); else the same
    without suffixes, as lists may leave them out or name files before they were transcoded. A file that
    several listed paths would take in this loose way is given to none of them.
    """
    results = [(clip, *_match_path(clip, listing, found)) for clip in listing.clips]
    claims: dict[str, set[str]] = {}
    for clip, result, _ in results:
        if result.path is not None:
            claims.setdefault(result.path, set()).add(clip.id)
    for clip, result, exact in results:
        claimed = claims.get(result.path, ())
        if len(claimed) > 1 and not exact:
            result = ambiguous(
                clip,
                f'{result.path} would be the file of {some(sorted(claimed))}; list the paths as they are'
                ' below the folder of videos',
                result.kind,
            )
        yield result


def _match_path(clip: FolderClip, listing: Listing, found: Found) -> tuple[Indexed, bool]:
    """``(result, whether the found path is the very one that is listed)``."""
    wanted = str(PurePosixPath((clip.path or clip.id).replace('\\', '/')))
    base = PurePosixPath(wanted)
    for kind in SOUGHT[clip.kind]:
        named = found.named(kind)
        paths = sorted({path for name in (base.name, base.stem) for path in named.get(name, ())})
        if wanted in paths:
            return Indexed(clip.split, clip.id, clip.label, wanted, kind), True
        loose = [path for path in paths if _is_tail(wanted, path)] or [
            path for path in paths if _is_tail(*map(_bare_path, (wanted, path)))
        ]
        if loose:
            return given(clip, loose, kind, class_of(listing, clip)), False
    return (
        missing(
            clip,
            f'no file or folder {wanted!r} is there; get the file, or name the folder that the listed paths'
            ' start from',
            clip.kind or 'video',
        ),
        False,
    )


def _is_tail(one: str, other: str) -> bool:
    """Whether one path is the other, or its end, folder by folder."""
    return f'/{one}'.endswith(f'/{other}') or f'/{other}'.endswith(f'/{one}')


def _bare_path(path: str) -> str:
    """The path without the suffix of its file; a suffix is short and begins with a letter, so that
    ``take.01`` has none."""
    return re.sub(r'\.[A-Za-z][A-Za-z0-9]{1,4}$', '', path)
