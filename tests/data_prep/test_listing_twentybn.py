from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.annotations import twentybn
from data_prep.common.listing import (
    AnnotationError,
    Extra,
    Found,
    Indexed,
    Listed,
    csv_rows,
    extra,
    find_file,
    leaked,
    narrowed,
    read_class_list,
    spelling,
    text_lines,
)

V1 = 'something-something-v1-'
LABELS = [
    'Holding something',
    'Something falling like a feather or paper',
    "Letting it roll, 'slowly' (down)",
    'Approaching something',
]


def write(
    folder, labels=LABELS, train=((100218, 1), (7, 2), (9, 3)), val=((20, 0),), prefix=V1, end='\n', bom=''
):
    folder.mkdir(exist_ok=True)
    for stem, lines in (
        ('labels', labels),
        ('train', [f'{clip};{labels[label]}' for clip, label in train]),
        ('validation', [f'{clip};{labels[label]}' for clip, label in val]),
    ):
        (folder / f'{prefix}{stem}.csv').write_bytes((bom + ''.join(line + end for line in lines)).encode())
    return folder


def pairs(listing, split):
    return [(clip.id, clip.label) for clip in listing.clips if clip.split == split]


# ---- what every reader shares


def test_text_without_mark_and_line_ends(tmp_path):
    file = tmp_path / 'a'
    file.write_bytes('\ufeffä;b \r\n\r\n \nc\u2028d\x0ce'.encode())
    assert list(text_lines(file)) == [(1, 'ä;b'), (4, 'c\u2028d\x0ce')]
    for content, message in (
        (b'a\nb\xff\n', r'a:2: not UTF-8 text \(invalid start byte, byte 0xff\); save the file as UTF-8'),
        ('a;b\n'.encode('utf-16'), 'a:1: not UTF-8'),
        ('a\n'.encode('utf-16-be'), 'a:1: holds a NUL byte'),
    ):
        file.write_bytes(content)
        with pytest.raises(AnnotationError, match=message):
            list(text_lines(file))


@pytest.mark.parametrize(
    ('text', 'rows'),
    [
        ('a,"b, ""c""", d\r\n\r\n,,\n e ,f,\n', [(1, ['a', 'b, "c"', 'd']), (4, ['e', 'f', ''])]),
        ('a, "b,c",d', [(1, ['a', 'b,c', 'd'])]),
        ('', []),
    ],
)
def test_csv_rows(tmp_path, text, rows):
    (tmp_path / 'a.csv').write_bytes(text.encode())
    assert list(csv_rows(tmp_path / 'a.csv')) == rows


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a,b\nc,"d\ne",f\n', r'a\.csv:2: a quote opens on this line and closes on line 3'),
        ('a,b\n\nc,"d', r'a\.csv:3: not CSV \(unexpected end of data\)'),
        ('a\n"b" ,d\n', r'a\.csv:2: not CSV'),
        ('a\n"b"c,d\n', r'a\.csv:2: not CSV'),
        ('a\rb\n', r'a\.csv:1: not CSV \(new-line character'),
        ('a\n' + 'b' * 200_000, r'a\.csv:2: not CSV \(field larger'),
    ],
)
def test_wrong_csv(tmp_path, text, message):
    (tmp_path / 'a.csv').write_bytes(text.encode())
    with pytest.raises(AnnotationError, match=message):
        list(csv_rows(tmp_path / 'a.csv'))


def test_find_file(tmp_path):
    (tmp_path / 'Train.csv').write_text('a')
    with pytest.raises(
        AnnotationError, match=r'holds none of train\.csv, labels/train\.csv; name the folder'
    ):
        find_file(tmp_path, ['train.csv', 'labels/train.csv', 'train.csv'])
    assert find_file(tmp_path, ['train.csv'], required=False) is None
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'labels' / 'train.csv').write_text('a')
    # the same bytes: no question
    assert find_file(tmp_path, ['Train.csv', 'labels/train.csv']) == tmp_path / 'Train.csv'
    (tmp_path / 'labels' / 'train.csv').write_text('b')
    with pytest.raises(
        AnnotationError, match=r'holds Train\.csv, labels/train\.csv, which differ; keep the one'
    ):
        find_file(tmp_path, ['Train.csv', 'labels/train.csv'], required=False)


def test_leaked():
    assert leaked([('train', 'a'), ('train', 'a'), ('val', 'b')], 'ids') == []
    some = (
        [('train', str(number)) for number in range(7)]
        + [('val', str(number)) for number in range(6)]
        + [('test', '6'), ('test', '0')]
    )
    assert leaked(some, 'clip ids') == [
        '7 clip ids stand in more than one split (1 in train and val and test, 5 in train and val, 1 in '
        'train and test), e.g. 0, 1, 2, 3, 4, …; results on such a split look too good'
    ]


def test_narrowed():
    assert narrowed(['b/x', 'a/Validation/x', 'a/train/x'], 'val', None) == ['a/Validation/x']
    assert narrowed(['val/a b/x', 'val/a_C/x', 'train/a c/x'], 'val', 'A c') == ['val/a_C/x']
    assert narrowed(['p/x', 'q/x'], 'val', 'A c') == ['p/x', 'q/x']
    assert narrowed(['train/x'], 'val', 'A') == ['train/x']
    # folders count, not file names
    assert narrowed(['b/val.mp4', 'b/a.mp4'], 'val', 'a') == ['b/val.mp4', 'b/a.mp4']


def test_spelling():
    assert (
        len(
            {
                spelling(name)
                for name in (
                    "massaging person's head",
                    'massaging_persons_head',
                    'Massaging "Person(s)" Head',
                )
            }
        )
        == 1
    )
    assert spelling('Spa\u0308t') == spelling('spät') != spelling('spat')
    assert spelling('(?)') == '(?)'


# ---- Something-Something V1 and Jester


def test_something_v1(tmp_path):
    write(tmp_path)
    listing = twentybn.read_listing(tmp_path)
    assert listing.classes == tuple(sorted(LABELS))
    assert listing.label_order == 'sorted'
    assert listing.official == {'train': 3, 'val': 1}
    assert listing.expected == {'train': 86_017, 'val': 11_522, 'test': 10_960}
    file = str(tmp_path / f'{V1}train.csv')
    assert listing.clips[:2] == [Listed('train', '100218', 3, file, 1), Listed('train', '7', 2, file, 2)]
    assert listing.clips[1].place == f'{file}:2'
    assert listing.warnings == [
        'train: the annotation lists 3 clips, 86,017 are published; this copy is not the published one',
        'val: the annotation lists 1 clips, 11,522 are published; this copy is not the published one',
        'the annotation has 4 classes, 174 are published; class numbers differ from those of others',
        '1 of 4 classes have no training clip: Holding something',
    ]


def test_order_of_the_file_and_counts(tmp_path):
    write(tmp_path)
    listing = twentybn.read_listing(tmp_path, label_order='file', counts='ignore')
    assert (listing.classes, listing.label_order, listing.expected) == (tuple(LABELS), 'file', {})
    assert pairs(listing, 'train') == [('100218', 1), ('7', 2), ('9', 3)]
    with pytest.raises(
        AnnotationError,
        match=f'{re.escape(str(tmp_path))}: train: the annotation lists 3 clips.*; download the annot',
    ):
        twentybn.read_listing(tmp_path, counts='assert')
    for wrong in ({'label_order': 'x'}, {'counts': 'x'}, {'dataset': 'x'}):
        with pytest.raises(ValueError, match="is 'x'; use one of "):
            twentybn.read_listing(tmp_path, **wrong)


def test_full_counts_are_quiet(tmp_path, monkeypatch):
    write(tmp_path)
    # no test file: not compared
    monkeypatch.setitem(twentybn.PUBLISHED, 'something-something-v1', {'train': 3, 'val': 1, 'test': 5})
    monkeypatch.setitem(twentybn.PUBLISHED_CLASSES, 'something-something-v1', 4)
    assert twentybn.read_listing(tmp_path, counts='assert').warnings == [
        '1 of 4 classes have no training clip: Holding something'
    ]


@pytest.mark.parametrize('prefix', ['jester-v1-', ''])
def test_jester_with_answers_in_the_folder_labels(tmp_path, prefix):
    folder = write(tmp_path / 'labels', prefix=prefix, end='\r\n', bom='\ufeff')
    (folder / f'{prefix}test.csv').write_text('3\n1\n2\n')
    listing = twentybn.read_listing(tmp_path, 'jester-v1', label_order='file', counts='ignore')
    assert pairs(listing, 'test') == [('3', None), ('1', None), ('2', None)]
    (folder / 'test-answers.csv').write_text(f'1;{LABELS[2]}\n3;"{LABELS[0]}"\n')
    listing = twentybn.read_listing(tmp_path / 'labels', 'jester-v1', label_order='file', counts='ignore')
    assert pairs(listing, 'test') == [('3', 0), ('1', 2), ('2', None)]
    assert '1 of 3 test clips have no answer: 2' in listing.warnings
    assert listing.official == {'train': 3, 'val': 1, 'test': 3}


def test_clips_in_several_splits(tmp_path):
    write(tmp_path, val=((7, 0), (20, 0)))
    assert (
        '1 clip ids stand in more than one split (1 in train and val), e.g. 7; results on such a split look'
        ' too good' in twentybn.read_listing(tmp_path).warnings
    )


@pytest.mark.parametrize(
    ('stem', 'text', 'message'),
    [
        (
            'train',
            'id;label\n',
            r"train\.csv:1: the id is 'id', expected digits; a line is \"id;label\", without a header",
        ),
        (
            'train',
            '\n1;Holding something\n2;Holding\n',
            r"train\.csv:3: label 'Holding' of clip '2' is none of the 4 classes",
        ),
        (
            'train',
            '1;Holding something\n1;Holding something\n',
            r"train\.csv:2: clip '1' stands on line 1 already; remove one",
        ),
        ('train', '1\n', r"train\.csv:1: clip '1' has no label \('1'\)"),
        ('train', '1;\n', r"train\.csv:1: clip '1' has no label"),
        ('train', '1,Holding something\n', r"train\.csv:1: the id is '1,Holding something'"),
        ('train', '\n', r'train\.csv:1: lists no clip'),
        ('train', '٣;Holding something\n', r"train\.csv:1: the id is '٣'"),
        ('validation', '1;Holding something\nx\n', r'validation\.csv:2: the id'),
        ('test', '1\n1\n', r'test\.csv:2: clip'),
        ('test', '1;what\n', r"test\.csv:1: label 'what'"),
        ('test-answers', '1;Holding something\n', r'holds none of .*something-v1-test\.csv'),
        ('labels', 'A\n\nB\nA\n', r"labels\.csv:4: class 'A' stands on line 1 already"),
        ('labels', 'A\n""\n', r"labels\.csv:2: the class name is '\"\"'"),
        ('labels', ' \n', r'labels\.csv:1: lists no class'),
    ],
)
def test_wrong_files(tmp_path, stem, text, message):
    write(tmp_path)
    (tmp_path / f'{V1}{stem}.csv').write_text(text)
    with pytest.raises(AnnotationError, match=message):
        twentybn.read_listing(tmp_path)


@pytest.mark.parametrize(
    ('answers', 'message'),
    [
        (
            '1;Holding something\n5;Holding something\n',
            r"test-answers\.csv:2: clip '5' is not in the test list",
        ),
        (
            '1;Holding something\n2;Holding something\n',
            r"test-answers\.csv:2: the label of clip '2' has the number 1, in the test list 0; ",
        ),
        ('1\n', r'test-answers\.csv:1: clip .1. has no label'),
    ],
)
def test_wrong_answers(tmp_path, answers, message):
    write(tmp_path)
    (tmp_path / f'{V1}test.csv').write_text(f'1\n2;{LABELS[3]}\n')
    (tmp_path / 'test-answers.csv').write_text(answers)
    with pytest.raises(AnnotationError, match=message):
        twentybn.read_listing(tmp_path)


def test_match(tmp_path):
    write(tmp_path, train=((1, 0), (2, 0), (3, 0), (4, 2), (5, 1)), val=((6, 1),))
    listing = twentybn.read_listing(tmp_path, label_order='file')
    found = Found(
        {
            '2': ('2.webm',),
            '1': ('old/1.webm',),
            '4': ('b/4.mp4', 'a/letting it ROLL slowly down/4.mp4'),
            '60': ('60.mp4',),
        },
        {'1': ('20bn/1',), '3': ('a/3', 'b/3'), '6': ('train/6', 'x/val/6')},
    )
    matched = list(twentybn.match(listing, found))
    assert matched == [
        Indexed('train', '1', 0, '20bn/1', 'frames'),
        Indexed('train', '2', 0, '2.webm'),
        Indexed(
            'train',
            '3',
            0,
            None,
            'frames',
            'ambiguous',
            'several files have the name: a/3, b/3; keep one, or put it below a folder '
            'named as its split or class',
        ),
        Indexed('train', '4', 2, 'a/letting it ROLL slowly down/4.mp4'),
        Indexed(
            'train',
            '5',
            1,
            None,
            'frames',
            'missing',
            'no folder of images 5 and no video 5.* is there; get the file, or name the folder that holds it',
        ),
        Indexed('val', '6', 1, 'x/val/6', 'frames'),
    ]
    assert extra(found, matched) == Extra(6, ('60.mp4', 'a/3', 'b/3', 'b/4.mp4', 'old/1.webm'))


# ---- any text

NAMES = st.text(st.sampled_from('ab ,;\'"()[]é\u2028'), min_size=1, max_size=8).filter(
    lambda text: text == text.strip() and not (text[0] == text[-1] == '"')
)


@settings(max_examples=60)
@given(
    st.lists(NAMES, min_size=1, max_size=5, unique=True),
    st.data(),
    st.sampled_from(['\n', '\r\n', '\n\n']),
    st.sampled_from(['', '\ufeff']),
    st.booleans(),
)
def test_any_labels(tmp_path_factory, labels, data, end, bom, quoted):
    folder = tmp_path_factory.mktemp('any')
    rows = data.draw(
        st.lists(
            st.tuples(st.integers(0, 999), st.integers(0, len(labels) - 1)),
            min_size=1,
            max_size=9,
            unique_by=lambda row: row[0],
        )
    )
    write(folder, labels, train=rows, val=rows, end=end, bom=bom)
    if quoted:
        lines = [f'{clip};"{labels[label].replace(chr(34), chr(34) * 2)}"' for clip, label in rows]
        (folder / f'{V1}train.csv').write_text('\n'.join(lines), encoding='utf-8', newline='')
    listing = twentybn.read_listing(folder, label_order='file', counts='ignore')
    assert listing.classes == tuple(labels)
    assert pairs(listing, 'train') == pairs(listing, 'val') == [(str(clip), label) for clip, label in rows]
    assert read_class_list(folder / f'{V1}labels.csv') == tuple(labels)


@settings(max_examples=150)
@given(
    st.one_of(
        st.binary(max_size=40),
        st.lists(
            st.sampled_from(
                [
                    b'1',
                    b'2',
                    b';',
                    b'Holding something',
                    b'Approaching something',
                    b'\n',
                    b'\r\n',
                    b'"',
                    b',',
                    b'\xff',
                    b'\0',
                    b'\xef\xbb\xbf',
                ]
            ),
            max_size=14,
        ).map(b''.join),
    )
)
def test_any_bytes(tmp_path_factory, content):
    folder = write(tmp_path_factory.mktemp('any'))
    (folder / f'{V1}train.csv').write_bytes(content)
    try:
        listing = twentybn.read_listing(folder, counts='ignore')
    except AnnotationError as error:
        assert re.match(rf'{re.escape(str(folder))}/{V1}train\.csv:\d+: .*; ', str(error), re.DOTALL)
    else:
        lines = [line.strip() for line in content.decode('utf-8-sig').split('\n') if line.strip()]
        assert [
            (clip.id, listing.classes[clip.label]) for clip in listing.clips if clip.split == 'train'
        ] == [tuple(part.strip().strip('"').strip() for part in line.split(';', 1)) for line in lines]
