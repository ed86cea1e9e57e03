from __future__ import annotations

import csv
import io
import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.annotations import folder
from data_prep.annotations.folder import FolderClip
from data_prep.common.listing import AnnotationError, Extra, Found, Listing, extra
from gfvideo.data.content import common_folder
from gfvideo.data.manifest import LIST_FORMS, read_list


def found_of(videos=(), folders=()):
    def by_name(paths, name_of):
        return {name: sorted(path for path in paths if name_of(path) == name) for name in map(name_of, paths)}

    return Found(
        by_name(videos, lambda path: os.path.splitext(os.path.basename(path))[0]),
        by_name(folders, os.path.basename),
    )


def triples(listing):
    return [(clip.split, clip.id, clip.label) for clip in listing.clips]


# ---- class folders


def test_folders_of_splits_and_classes():
    found = found_of(
        ['train/run/1.mp4', 'train/jump high/b.webm', 'Validation/run/2.x.mkv', 'test/run/1.mp4'],
        ['train/run/7'],
    )
    listing = folder.read_folders(found)
    assert (listing.classes, listing.label_order) == (('jump high', 'run'), 'sorted')
    assert listing.clips == [
        FolderClip('val', 'Validation/run/2.x.mkv', 1, 'Validation/run/2.x.mkv', 1, 'video'),
        FolderClip('test', 'test/run/1.mp4', 1, 'test/run/1.mp4', 1, 'video'),
        FolderClip('train', 'train/jump high/b.webm', 0, 'train/jump high/b.webm', 1, 'video'),
        FolderClip('train', 'train/run/1.mp4', 1, 'train/run/1.mp4', 1, 'video'),
        FolderClip('train', 'train/run/7', 1, 'train/run/7', 1, 'frames'),
    ]
    assert (listing.official, listing.expected) == ({'train': 3, 'val': 1, 'test': 1}, {})
    assert listing.warnings == [
        '1 clips stand in more than one split (1 in train and test), e.g. run/1.mp4; results on such a split'
        ' look too good'
    ]
    matched = list(folder.match(listing, found))
    assert [(clip.path, clip.kind) for clip in matched] == [(clip.id, clip.kind) for clip in listing.clips]
    assert extra(found, matched) == Extra(0, ())


def test_folders_of_classes_with_a_split():
    listing = folder.read_folders(found_of(['train/1.mp4', 'a/2.mp4']), 'val')  # 'train' is a class here
    assert (listing.classes, triples(listing)) == (
        ('a', 'train'),
        [('val', 'a/2.mp4', 0), ('val', 'train/1.mp4', 1)],
    )


def test_images_beside_clips_are_no_clip():
    listing = folder.read_folders(found_of(['train/a/1.mp4'], ['train/a', 'train', '.', 'train/a/2']))
    assert [clip.id for clip in listing.clips] == ['train/a/1.mp4', 'train/a/2']
    assert listing.warnings == [
        '3 folders hold images beside their clips; the images are not used: ., train, train/a'
    ]


@pytest.mark.parametrize(
    ('videos', 'split', 'message'),
    [
        (
            ['a/1.mp4'],
            None,
            r'a/1\.mp4: does not stand at <split>/<class>/<clip>; move it, or give the split',
        ),
        (['train/a/1.mp4', 'train/a/b/1.mp4'], None, r'train/a/b/1\.mp4: does not stand at <split>'),
        (
            ['training_set/a/1.mp4'],
            None,
            (
                r"training_set/a/1\.mp4: 'training_set' is no name of a split; name the folder train,"
                r' training, val'
            ),
        ),
        (
            ['train/a/1.mp4'],
            'train',
            r'train/a/1\.mp4: does not stand at <class>/<clip>; move it, or give no split',
        ),
        ([], 'train', 'holds no video and no folder of images; name the folder'),
    ],
)
def test_wrong_trees(videos, split, message):
    with pytest.raises(AnnotationError, match=message):
        folder.read_folders(found_of(videos), split)
    with pytest.raises(ValueError, match="split is 'validation'; use one of train, val, test"):
        folder.read_folders(found_of(videos), 'validation')


# ---- lists


@pytest.mark.parametrize(
    ('form', 'text', 'kind', 'rows'),
    [
        ('mmaction2_video', 'a/1.mp4 1\nb.mp4 0\n', 'video', [('a/1.mp4', 1), ('b.mp4', 0)]),
        ('mmaction2_frames', '\ufeffa/1 30 1\r\n\r\nb 4 0\r\n', 'frames', [('a/1', 1), ('b', 0)]),
        ('tsm', 'a b/1 30 1\nc 4 0', 'frames', [('a b/1', 1), ('c', 0)]),
        (
            'path_label',
            'a b/1.mp4 1\nc.mp4,0\nd, e.mp4 , 0\n',
            'video',
            [('a b/1.mp4', 1), ('c.mp4', 0), ('d, e.mp4', 0)],
        ),
    ],
)
def test_forms_of_lists(tmp_path, form, text, kind, rows):
    file = tmp_path / 'train.txt'
    file.write_text(text, newline='')
    listing = folder.read_listing(tmp_path, form)
    assert (listing.classes, listing.label_order, listing.official) == (
        ('0', '1'),
        'numbers',
        {'train': len(rows)},
    )
    assert [(clip.id, clip.label) for clip in listing.clips] == rows
    assert {clip.kind for clip in listing.clips} == {kind}
    assert [clip.line for clip in listing.clips][1] == (3 if '\r' in text else 2)
    # one reader of forms, one meaning
    assert rows == [(row.id, row.label) for row in read_list(file, form, ['x', 'y'])]


@pytest.mark.parametrize(
    ('form', 'line'),
    [
        ('path_label', 'a b/1.mp4{}'),
        ('tsm', 'a b/1 30{}'),
        ('mmaction2_video', '1.mp4{}'),
        ('mmaction2_frames', '1 30{}'),
    ],
)
@pytest.mark.parametrize('names', [False, True])
def test_labels_as_names(tmp_path, form, line, names):
    second = line.replace('1', '2', 1).format(' throwing ball' if names else ' x')
    (tmp_path / 'val_videofolder.txt').write_text(f'{line.format(" ball")}\n{second}')
    if not names:
        listing = folder.read_listing(tmp_path, form)
        assert (listing.classes, listing.label_order) == (('ball', 'x'), 'sorted')
        assert [clip.label for clip in listing.clips] == [0, 1]
        return
    (tmp_path / 'category.txt').write_text('throwing ball\nnone\nball\n')
    for classes, order in (
        (None, 'category.txt'),
        (tmp_path / 'category.txt', 'category.txt'),
        (['throwing ball', 'none', 'ball'], 'given'),
    ):
        listing = folder.read_listing(tmp_path, form, classes=classes)
        assert (listing.classes, listing.label_order) == (('throwing ball', 'none', 'ball'), order)
        assert [(clip.id.replace('2', '1', 1), clip.label) for clip in listing.clips] == [
            (line.partition('.mp4')[0] + '.mp4' if 'mp4' in line else line.partition(' 30')[0], label)
            for label in (2, 0)
        ]
    assert listing.warnings == []  # no training split: nothing to say about training clips


def test_a_class_list_in_json(tmp_path):
    (tmp_path / 'train.txt').write_text('a.mp4 1\n')
    (tmp_path / 'c.json').write_text('{"x": 1, "y": "0"}')
    listing = folder.read_listing(tmp_path, 'path_label', classes=tmp_path / 'c.json')
    assert (listing.classes, listing.label_order, triples(listing)) == (
        ('y', 'x'),
        'c.json',
        [('train', 'a.mp4', 1)],
    )
    (tmp_path / 'c.json').write_text('{"x": 1')
    with pytest.raises(AnnotationError, match=r'c\.json:1: not JSON'):
        folder.read_listing(tmp_path, 'path_label', classes=tmp_path / 'c.json')


def test_files_by_split(tmp_path):
    (tmp_path / 'one').write_text('a.mp4 0\n')
    (tmp_path / 'two').write_text('b.mp4 1\na.mp4 0\n')
    listing = folder.read_listing({'train': tmp_path / 'one', 'test': tmp_path / 'two'}, 'path_label')
    assert triples(listing) == [('train', 'a.mp4', 0), ('test', 'b.mp4', 1), ('test', 'a.mp4', 0)]
    assert listing.warnings == [
        (
            '1 clips stand in more than one split (1 in train and test), e.g. a.mp4; results on such a split'
            ' look too good'
        ),
        '1 of 2 classes have no training clip: 1',
    ]
    assert triples(folder.read_listing(tmp_path / 'two', 'path_label', split='val')) == [
        ('val', 'b.mp4', 1),
        ('val', 'a.mp4', 0),
    ]


@pytest.mark.parametrize(
    ('name', 'form', 'options', 'message'),
    [
        ('two', 'path_label', {}, 'two: a list of the form .* does not say its split'),
        ('no', 'path_label', {'split': 'val'}, 'no: there is no such file'),
        ('', 'path_label', {}, r'holds no list such as train\.txt, train\.csv, train_videofolder\.txt'),
        ('', 'path_label', {'split': 'val'}, "split is 'val', but several files are given"),
        ('', 'x', {}, "form is 'x'; use one of csv, huggingface, mmaction2_video"),
        ('two', 'tsm', {'split': 'val', 'classes': ['a', 'a']}, 'each once'),
    ],
)
def test_wrong_calls(tmp_path, name, form, options, message):
    (tmp_path / 'two').write_text('b.mp4 1\n')
    with pytest.raises(ValueError, match=message):
        folder.read_listing(tmp_path / name, form, **options)


@pytest.mark.parametrize(
    ('form', 'text', 'classes', 'message'),
    [
        (
            'path_label',
            'a.mp4 0\na.mp4 0\n',
            None,
            r"train\.txt:2: 'a\.mp4' stands on line 1 already; remove one",
        ),
        (
            'path_label',
            'a.mp4 0\nb.mp4 x\n',
            None,
            r"train\.txt:2: the label of 'b\.mp4' is 'x', but the first label is a number",
        ),
        (
            'path_label',
            'a.mp4 1\n\nb.mp4 2\n',
            None,
            r"train\.txt:1: '1' is the least label and no clip has the label 0; labels count from 0",
        ),
        (
            'path_label',
            'a.mp4 0\nb.mp4 999999999\n',
            None,
            r"train\.txt:2: the label is '999999999' in a list of 2 clips",
        ),
        ('path_label', 'a.mp4 0\nb.mp4 -1\n', None, r"train\.txt:2: the label of 'b\.mp4' is '-1'"),
        (
            'path_label',
            'a.mp4 0\nb.mp4 2\n',
            ['x', 'y'],
            r"train\.txt:2: the label of 'b\.mp4' is 2, outside 0\.\.1 \(2 classes\)",
        ),
        (
            'path_label',
            'a.mp4 x\nb.mp4 z\n',
            ['x', 'y'],
            r"train\.txt:2: the label of 'b\.mp4' is 'z', none of the 2 classes",
        ),
        ('path_label', 'a.mp4,\n', None, r"train\.txt:1: 'a\.mp4,' is no line of the form 'path_label'"),
        (
            'path_label',
            'a.mp4\n',
            None,
            r"train\.txt:1: 'a\.mp4' is no line of the form 'path_label' \(.*\); correct the line",
        ),
        ('mmaction2_video', 'a b.mp4 0\n', None, r"train\.txt:1: 'a b\.mp4 0' is no line of the form"),
        ('tsm', 'a b 0\n', None, r"train\.txt:1: 'a b 0' is no line .*number of frames is 'b'"),
        ('tsm', f'a {"1" * 5000} 0\n', None, r'train\.txt:1: .*is no line of the form'),
        ('tsm', '\n', None, r'train\.txt:1: lists no clip'),
        ('tsm', 'a 3 0\n\xff', None, r'train\.txt:2: not UTF-8'),
    ],
)
def test_wrong_lists(tmp_path, form, text, classes, message):
    (tmp_path / 'train.txt').write_bytes(text.encode('latin-1'))
    with pytest.raises(AnnotationError, match=message):
        folder.read_listing(tmp_path, form, classes=classes)


# ---- CSV


def test_csv(tmp_path):
    text = (
        '\ufeffsplit,Label,extra,path\r\ntrain,"jump, high",1,a'
        ' b.mp4\r\nvalidation,run,,c\r\ntest,,,d/e.mp4\r\n'
    )
    (tmp_path / 'all.csv').write_text(text, newline='')
    listing = folder.read_listing(tmp_path / 'all.csv', 'csv')
    assert (listing.classes, listing.label_order) == (('jump, high', 'run'), 'sorted')
    assert listing.clips == [
        FolderClip(split, path, label, str(tmp_path / 'all.csv'), line)
        for split, path, label, line in (
            ('train', 'a b.mp4', 0, 2),
            ('val', 'c', 1, 3),
            ('test', 'd/e.mp4', None, 4),
        )
    ]
    (tmp_path / 'train.csv').write_text('label,path\n1,a\n0,b\n')
    assert triples(folder.read_listing(tmp_path, 'csv')) == [('train', 'a', 1), ('train', 'b', 0)]
    (tmp_path / 'classes.txt').write_text('1\n0\n')  # a class that is named like a number is a name
    assert triples(folder.read_listing(tmp_path, 'csv')) == [('train', 'a', 0), ('train', 'b', 1)]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'label,file\n',
            (
                r"train\.csv:1: the header is 'label,file', without path; the first row names the columns"
                r' path,label,split'
            ),
        ),
        ('path,label,path\n', r"train\.csv:1: the header names the column 'path' twice"),
        ('path,label\na\n', r'train\.csv:2: the row has 1 fields, the header 2'),
        ('path,label\na,0\n,0\n', r'train\.csv:3: the path is empty'),
        ('path,label\na,\n', r"train\.csv:2: 'a' in split 'train' has no label"),
        ('path,label,split\na,0,val\n', r"train\.csv:2: split is 'val', expected 'train' or 'training'"),
        ('path,label\na,0\na,1\n', r"train\.csv:3: 'a' stands on line 2 already"),
        ('path,label\n', r'train\.csv:1: lists no clip'),
        ('path,label\n"a,0\n', r'train\.csv:2: not CSV'),
    ],
)
def test_wrong_csv(tmp_path, text, message):
    (tmp_path / 'train.csv').write_text(text)
    with pytest.raises(AnnotationError, match=message):
        folder.read_listing(tmp_path, 'csv')


def test_a_csv_without_splits(tmp_path):
    (tmp_path / 'x.csv').write_text('path,label\na,0\n')
    with pytest.raises(AnnotationError, match=r'x\.csv:1: the header is .*without split'):
        folder.read_listing(tmp_path / 'x.csv', 'csv')
    assert triples(folder.read_listing(tmp_path / 'x.csv', 'csv', split='test')) == [('test', 'a', 0)]


# ---- match


@pytest.mark.parametrize(
    ('listed', 'videos', 'path'),
    [
        ('a/1.mp4', ['a/1.mp4', 'b/a/1.mp4'], 'a/1.mp4'),  # the very path comes first
        ('./a//1.mp4', ['a/1.mp4'], 'a/1.mp4'),
        ('a\\1.mp4', ['a/1.mp4'], 'a/1.mp4'),
        ('/data/set/a/1.mp4', ['a/1.mp4', 'b/1.mp4'], 'a/1.mp4'),
        ('1.mp4', ['x/y/1.mp4'], 'x/y/1.mp4'),
        ('1.mp4', ['x/11.mp4'], None),
        ('a/1.mp4', ['b/1.mp4'], None),
        ('a/1', ['a/1.mp4'], 'a/1.mp4'),
        ('a/1.avi', ['a/1.mp4'], 'a/1.mp4'),
        ('a/1.avi', ['a/1.mp4', 'x/a/1.avi'], 'x/a/1.avi'),
        ('a/take.01', ['a/take.01.mp4', 'a/take.02.mp4'], 'a/take.01.mp4'),
        ('1.mp4', ['p/1.mp4', 'q/1.mp4'], 'ambiguous'),
        ('1.mp4', ['p/1.mp4', 'train/1.mp4'], 'train/1.mp4'),
        ('1.mp4', ['p/1.mp4', 'The_Class/1.mp4'], 'The_Class/1.mp4'),
    ],
)
def test_match(listed, videos, path):
    listing = Listing(('the class',), 'given', [FolderClip('train', listed, 0)], {})
    (clip,) = folder.match(listing, found_of(videos))
    assert (clip.path or clip.reason) == (path or 'missing')


def test_kinds():
    listing = Listing(
        ('c',), 'given', [FolderClip('train', 'a/1', 0, kind=kind) for kind in ('frames', 'video', None)], {}
    )
    assert [(clip.path, clip.kind) for clip in folder.match(listing, found_of(['a/1.mp4'], ['a/1']))] == [
        ('a/1', 'frames'),
        ('a/1.mp4', 'video'),
        ('a/1.mp4', 'video'),
    ]
    assert [clip.kind for clip in folder.match(listing, found_of([], ['a/1']))] == ['frames'] * 3


def test_a_file_that_two_paths_could_mean():
    clips = [
        FolderClip('train', 'train/1.mp4', 0),
        FolderClip('val', 'val/1.mp4', 0),
        FolderClip('val', 'train/1.mp4', 0),
    ]
    loose = list(folder.match(Listing(('c',), 'given', clips, {}), found_of(['1.mp4'])))
    assert [clip.reason for clip in loose] == ['ambiguous'] * 3
    assert (
        loose[0].detail
        == '1.mp4 would be the file of train/1.mp4, val/1.mp4; list the paths as they are below the folder of'
        ' videos'
    )
    exact = list(folder.match(Listing(('c',), 'given', clips, {}), found_of(['train/1.mp4'])))
    assert [clip.path for clip in exact] == ['train/1.mp4', None, 'train/1.mp4']


# ---- any text

PIECES = [
    b'a',
    b'b.mp4',
    b' ',
    b',',
    b'0',
    b'1',
    b'-',
    b'\n',
    b'\r\n',
    b'"',
    b'train',
    b'\xff',
    b'\0',
    b'\xc2\xa0',
]


@settings(max_examples=100)
@given(
    st.sampled_from(folder.FORMS),
    st.binary(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=12).map(b''.join),
    st.booleans(),
    st.sampled_from([None, ['a', '1'], ['a b', 'c', 'd']]),
)
def test_any_bytes(tmp_path_factory, form, content, header, classes):
    there = tmp_path_factory.mktemp('any')
    name, head = (
        ('metadata.csv', b'file_name,label\n') if form == 'huggingface' else ('train.csv', b'path,label\n')
    )
    (there / name).write_bytes(head * header + content)
    try:
        listing = folder.read_listing(there, form, classes=classes)
    except AnnotationError as error:
        assert re.match(rf'{re.escape(str(there / name))}:\d+: .*; ', str(error), re.DOTALL)
    else:
        lines = [
            line
            for line in (b'path,label\n' * header + content).decode('utf-8-sig').split('\n')
            if line.strip()
        ]
        assert len(listing.clips) in (len(lines), len(lines) - 1)
        assert all(0 <= clip.label < len(listing.classes) for clip in listing.clips)
        assert len(list(folder.match(listing, found_of(['a.mp4', 'b.mp4'], ['a'])))) == len(listing.clips)


PATH = st.text(st.sampled_from('ab ,."\''), min_size=1, max_size=8).filter(lambda text: text == text.strip())


@settings(max_examples=60)
@given(
    st.lists(PATH, min_size=1, max_size=6, unique=True),
    st.data(),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(['\n', '\r\n']),
)
def test_any_csv(tmp_path_factory, paths, data, quoting, end):
    labels = [data.draw(st.sampled_from(['x', 'y, z', 'say "it"'])) for _ in paths]
    table = io.StringIO()
    csv.writer(table, quoting=quoting, lineterminator=end).writerows(
        [('path', 'label'), *zip(paths, labels, strict=True)]
    )
    file = tmp_path_factory.mktemp('any') / 'any.csv'
    file.write_text(table.getvalue(), newline='')
    listing = folder.read_listing(file, 'csv', split='val')
    assert [(clip.id, listing.classes[clip.label]) for clip in listing.clips] == list(
        zip(paths, labels, strict=True)
    )


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(LIST_FORMS)),
    st.lists(PATH.map(lambda path: re.sub('[ ,]', '/', path)), min_size=1, max_size=6, unique=True),
    st.data(),
    st.sampled_from(['\n', '\r\n', '\n\n']),
)
def test_any_list(tmp_path_factory, form, paths, data, end):
    names = ['ball', 'throwing ball', 'b', 'a b', '7']
    rows = [(path, data.draw(st.integers(0, 4))) for path in paths]
    middle = ',30,' if form == 'arnet' else ' 30 ' if form in folder.FRAME_FORMS else ' '
    file = tmp_path_factory.mktemp('any') / 'list'
    file.write_text(''.join(f'{path}{middle}{names[label]}{end}' for path, label in rows), newline='')
    listing = folder.read_listing(file, form, split='train', classes=names)
    start = len(common_folder(paths))
    assert [(clip.id, clip.label) for clip in listing.clips] == [
        (path[start:], label) for path, label in rows
    ]


def test_absolute_paths_are_told_from_the_folder_that_holds_them(tmp_path):
    """The same clips on another mount point have the same ids; they are matched by the whole path."""
    found = Found({'1': ['a/1.mp4', 'b/1.mp4'], '2': ['b/2.mp4']}, {})
    ids = []
    for mount in ('/one/place', '/x'):
        file = tmp_path / 'train.txt'
        file.write_text(f'{mount}/videos/b/1.mp4 0\n{mount}/videos/b/2.mp4 1\n')
        listing = folder.read_listing(file, 'path_label', split='train')
        ids.append([clip.id for clip in listing.clips])
        assert [result.path for result in folder.match(listing, found)] == ['b/1.mp4', 'b/2.mp4']
    assert ids == [['1.mp4', '2.mp4']] * 2
