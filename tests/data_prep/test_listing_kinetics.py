from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.annotations import kinetics
from data_prep.annotations.kinetics import KineticsClip
from data_prep.common.listing import AnnotationError, Extra, Found, Listing, extra

HEADER = 'label,youtube_id,time_start,time_end,split,is_cc\n'
A, B, C, D = '-abc_EFG___', 'k3DltqdSvHL', '0123456_123', '___________'
TRAIN = (
    HEADER + f'"walking, standing",{A},3,13,train,0\n"bridge up","{B}","99.0","109.0","train","0"\nbridge'
    f' up,{C},1,11,train,0\n'
)
VAL = (
    f'youtube_id,split,label,time_end,time_start\n{D},validate,bridge up,10,0\n{B},val,"walking,'
    ' standing",20,10\n'
)
TEST = f'youtube_id,time_start,time_end,split\n{"t" * 11},5,15,test\n'


def write(folder, **files):
    folder.mkdir(exist_ok=True, parents=True)
    for name, text in files.items():
        (folder / f'{name}.csv').write_text(text, newline='')
    return folder


def pairs(listing, split):
    return [(clip.id, clip.label) for clip in listing.clips if clip.split == split]


def test_columns_quotes_and_split_words(tmp_path):
    write(tmp_path, train=TRAIN.replace('\n', '\r\n'), validate='\ufeff' + VAL, test=TEST)
    listing = kinetics.read_listing(tmp_path, '400')
    assert (listing.classes, listing.label_order) == (('bridge up', 'walking, standing'), 'sorted')
    train, val, test = (str(tmp_path / f'{name}.csv') for name in ('train', 'validate', 'test'))
    assert listing.clips == [
        KineticsClip('train', f'{A}_000003_000013', 1, train, 2, A, 3, 13),
        KineticsClip('train', f'{B}_000099_000109', 0, train, 3, B, 99, 109),
        KineticsClip('train', f'{C}_000001_000011', 0, train, 4, C, 1, 11),
        KineticsClip('val', f'{D}_000000_000010', 0, val, 2, D, 0, 10),
        KineticsClip('val', f'{B}_000010_000020', 1, val, 3, B, 10, 20),
        KineticsClip('test', f'{"t" * 11}_000005_000015', None, test, 2, 't' * 11, 5, 15),
    ]
    assert listing.official == {'train': 3, 'val': 2, 'test': 1}
    assert listing.expected == {'train': 246_534, 'val': 19_906, 'test': 39_805}
    assert (
        listing.warnings[0]
        == 'train: the annotation lists 3 clips, 246,534 are published; this copy is not the published one'
    )
    assert listing.warnings[3:] == [
        'the annotation has 2 classes, 400 are published; class numbers differ from those of others',
        (
            f'1 youtube ids stand in more than one split (1 in train and val), e.g. {B}; results on such a'
            ' split look too good'
        ),
    ]


@pytest.mark.parametrize(
    ('version', 'train', 'val'),
    [
        ('400', 'kinetics_train', 'kinetics_val'),
        ('400', 'kinetics-400_train', 'kinetics-400_val'),
        ('400', 'kinetics400/train', 'kinetics400/validate'),
        ('400', 'annotations/train', 'annotations/val'),
        ('600', 'kinetics-600_train', 'kinetics-600_validation'),
        ('600', 'train', 'val'),
        ('700', 'kinetics_700_train', 'kinetics_700_val'),
        ('700', 'kinetics700/train', 'kinetics700/validate'),
        ('700-2020', 'kinetics700_2020/train', 'kinetics700_2020/validate'),
        ('700-2020', 'kinetics_700_2020_train', 'kinetics_700_2020_val'),
        ('custom', 'train', 'val'),
    ],
)
def test_file_names(tmp_path, version, train, val):
    others = {'400', '600', '700'} - {version}
    write(
        tmp_path, **{f'kinetics-{other}_train': 'of another version, and so not read\n' for other in others}
    )
    for name, text in ((train, TRAIN), (val, VAL)):
        write((tmp_path / name).parent, **{name.split('/')[-1]: text})
    assert kinetics.read_listing(tmp_path, version).official == {'train': 3, 'val': 2}


def test_a_wrong_folder(tmp_path):
    with pytest.raises(
        AnnotationError,
        match=r'holds no train\.csv, nor one with kinetics-600_ before its name or in a folder',
    ):
        kinetics.read_listing(tmp_path, '600')
    write(tmp_path, train=TRAIN)
    with pytest.raises(
        AnnotationError, match=r'holds no val\.csv or validate\.csv or validation\.csv, nor one'
    ):
        kinetics.read_listing(tmp_path, '600')
    write(tmp_path, val=VAL, validate=VAL + '\n')
    with pytest.raises(AnnotationError, match=r'holds val\.csv, validate\.csv, which differ'):
        kinetics.read_listing(tmp_path, '600')
    with pytest.raises(AnnotationError, match=r'holds none of train\.csv, val\.csv'):
        kinetics.read_listing(tmp_path / 'absent', 'custom')
    with pytest.raises(
        ValueError,
        match="version is 'mini-kinetics'; use one of 400, 600, 700, 700-2020, mini-s3d, mini-arnet, custom",
    ):
        kinetics.read_listing(tmp_path, 'mini-kinetics')
    with pytest.raises(ValueError, match="version '400' needs no second annotation"):
        kinetics.read_listing(tmp_path, '400', kinetics=tmp_path)


def test_one_csv_with_all_splits(tmp_path):
    file = (
        write(
            tmp_path,
            all=f'{HEADER}b,{A},1,2,validation,0\na,{B},1,2,train,1\n,{C},1,2,test,0\na,{D},1,2,test,0\n',
        )
        / 'all.csv'
    )
    listing = kinetics.read_listing(file, '600')
    assert [(clip.split, clip.label, clip.line) for clip in listing.clips] == [
        ('val', 1, 2),
        ('train', 0, 3),
        ('test', None, 4),
        ('test', 0, 5),
    ]
    assert listing.official == {'train': 1, 'val': 1, 'test': 2}
    assert '1 of 2 classes have no training clip: b' in listing.warnings


def test_custom_ids_and_splits(tmp_path):
    write(tmp_path, val='youtube_id,time_start,time_end,label\nmein Clip.v2,0,1,a\nx_5,0,1,B\nx,5,6,b\n')
    listing = kinetics.read_listing(tmp_path, 'custom')
    assert pairs(listing, 'val') == [
        ('mein Clip.v2_000000_000001', 1),
        ('x_5_000000_000001', 0),
        ('x_000005_000006', 2),
    ]
    assert listing.expected == {}
    assert listing.warnings == [
        "the classes 'B', 'b' differ in spelling alone; if they are one class, write it one way"
    ]
    write(tmp_path, val='youtube_id,time_start,time_end,label\na/b,0,1,a\n')
    with pytest.raises(
        AnnotationError,
        match=r"val\.csv:2: youtube_id is 'a/b', expected text that can be the name of a file",
    ):
        kinetics.read_listing(tmp_path, 'custom')


def test_rows_that_repeat(tmp_path):
    write(tmp_path, train=f'{HEADER}a,{A},1,11,train,0\na,{A},1.0,11,train,1\na,{A},2,11,train,0\n')
    listing = kinetics.read_listing(tmp_path, 'custom')
    assert pairs(listing, 'train') == [(f'{A}_000001_000011', 0), (f'{A}_000002_000011', 0)]
    assert listing.official == {'train': 3}
    assert listing.warnings == [
        f'{tmp_path}/train.csv: 1 rows repeat an earlier one and are counted, but listed once:'
        f' {A}_000001_000011 (line 3)'
    ]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'label,youtube_id,split\n',
            r"train\.csv:1: the header is 'label,youtube_id,split', without time_start, time_end",
        ),
        ('youtube_id,time_start,time_end,split\n', r'train\.csv:1: the header is .*without label'),
        (HEADER.replace('is_cc', 'label'), r"train\.csv:1: the header names the column 'label' twice"),
        (f'a,{A},1,2,train,0\n', r'train\.csv:1: the header is'),
        ('', r"train\.csv:1: the header is ''"),
        (HEADER, r'train\.csv:1: lists no clip'),
        (
            f'{HEADER}a,{A},1,11,train,0\n\nb,short,1,2,train,0\n',
            r"train\.csv:4: youtube_id is 'short', expected 11 letters",
        ),
        (f'{HEADER}a,{A},x,11,train,0\n', r"train\.csv:2: time_start is 'x', expected seconds from 0"),
        (f'{HEADER}a,{A},1,-1,train,0\n', r"train\.csv:2: time_end is '-1'"),
        (f'{HEADER}a,{A},1,1e3,train,0\n', r"train\.csv:2: time_end is '1e3'"),
        (f'{HEADER}a,{A},1,{"1" * 5000},train,0\n', r'train\.csv:2: time_end is'),
        (f'{HEADER}a,{A},1\n', r'train\.csv:2: the row has 3 fields, the header 6'),
        (
            f'{HEADER}a,b,{A},1,2,train,0\n',
            r'train\.csv:2: the row has 7 fields, the header 6: .*; quote fields',
        ),
        (
            f'{HEADER}a,{A},1,11,validate,0\n',
            r"train\.csv:2: split is 'validate', expected 'train' or 'training' in the file of this split",
        ),
        (f'{HEADER}a,{A},1,11,,0\n', r"train\.csv:2: split is ''"),
        (
            f'{HEADER},{A},1,11,train,0\n',
            r"train\.csv:2: clip of '-abc_EFG___' in split 'train' has no label",
        ),
        (
            f'{HEADER}a,{A},1,11,train,0\nb,{A},1,11,train,0\n',
            r"train\.csv:3: clip '-abc_EFG____000001_000011' has the label 'b', on line 2 ",
        ),
        (f'{HEADER}"a,{A},1,11,train,0\na,{A},1,11,train,0\n', r'train\.csv:2: not CSV'),
    ],
)
def test_wrong_rows(tmp_path, text, message):
    write(tmp_path, train=text, val=VAL)
    with pytest.raises(AnnotationError, match=message):
        kinetics.read_listing(tmp_path, '700')


# ---- the two Mini-Kinetics


def test_mini_s3d(tmp_path):
    write(tmp_path / 'k400', train=f'{TRAIN}unused,{D},1,11,train,0\n', val=VAL)
    mini = tmp_path / 'Mini-Kinetics-200'
    mini.mkdir()
    (mini / 'train_ytid_list.txt').write_text(f'{B}\nmissing_one\n{A}\n')
    (mini / 'val_ytid_list.txt').write_text(f'{D}\n')
    train, val = mini / 'train_ytid_list.txt', mini / 'val_ytid_list.txt'
    for lists in (tmp_path, mini):
        listing = kinetics.read_listing(lists, 'mini-s3d', kinetics=tmp_path / 'k400')
        assert listing.classes == ('bridge up', 'walking, standing')
        assert [(clip.split, clip.id, clip.label, clip.place) for clip in listing.clips] == [
            ('train', f'{B}_000099_000109', 0, f'{train}:1'),
            ('train', f'{A}_000003_000013', 1, f'{train}:3'),
            ('val', f'{D}_000000_000010', 0, f'{val}:1'),
        ]
        assert (listing.official, listing.expected) == (
            {'train': 3, 'val': 1},
            {'train': 80_000, 'val': 5_000},
        )
        assert (
            f'train: 1 of the 3 youtube ids in {train} are not in the train split of {tmp_path}/k400, so'
            ' their classes and times are unknown: missing_one' in listing.warnings
        )
    write(mini, train=TRAIN, val=VAL)  # all in one folder
    assert len(kinetics.read_listing(mini, 'mini-s3d').clips) == 3


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (f'{A}\nshort\n', r"train_ytid_list\.txt:2: 'short' is no youtube id"),
        (f'{A}\n\n{A}\n', r"train_ytid_list\.txt:3: youtube id '-abc_EFG___' stands on line 1 already"),
        ('\n', r'train_ytid_list\.txt:1: lists no clip'),
    ],
)
def test_wrong_lists_of_mini_s3d(tmp_path, text, message):
    write(tmp_path, train=TRAIN, val=VAL)
    (tmp_path / 'train_ytid_list.txt').write_text(text)
    with pytest.raises(AnnotationError, match=message):
        kinetics.read_listing(tmp_path, 'mini-s3d')


def write_arnet(folder, train, val=f'images/val/air drumming/{D}_000000_000010 60 0\n'):
    (folder / 'minik_classInd.txt').write_text('air drumming\npassing American football (in game)\n')
    (folder / 'mini_train_videofolder.txt').write_text(train)
    (folder / 'mini_val_videofolder.txt').write_text(val)


def test_mini_arnet(tmp_path):
    write_arnet(
        tmp_path,
        f'images/train/passing American football (in game)/{A}_000003_000013 300 1\n{C}_000001_000011 2 0\n',
    )
    listing = kinetics.read_listing(tmp_path, 'mini-arnet')
    assert (listing.classes[1], listing.label_order) == (
        'passing American football (in game)',
        'minik_classInd.txt',
    )
    file = str(tmp_path / 'mini_train_videofolder.txt')
    assert listing.clips[:2] == [
        KineticsClip('train', f'{A}_000003_000013', 1, file, 1, A, 3, 13),
        KineticsClip('train', f'{C}_000001_000011', 0, file, 2, C, 1, 11),
    ]
    assert listing.expected == {'train': 121_215, 'val': 9_867}
    found = Found({}, {f'{A}_000003_000013': (f'images/train/a/{A}_000003_000013',)})
    assert [clip.path for clip in kinetics.match(listing, found)] == [
        f'images/train/a/{A}_000003_000013',
        None,
        None,
    ]


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        (
            f'air drumming/{A}_000003_000013 300 2',
            r"txt:2: the label is '2', outside 0\.\.1 \(2 classes\); labels count from 0",
        ),
        (f'air drumming/{A}_000003_000013 300 -1', r"txt:2: the label is '-1'"),
        (
            f'air_drumming/{A}_000003_000013 300 1',
            r"txt:2: .* names the class 'air drumming', but the label 1 means 'passing American",
        ),
        (f'air drumming/{A}_000003_000013 0', r'txt:2: .* is not "path frames label"'),
        (f'air drumming/{A} 300 0', r'txt:2: .* with a path that ends in <id>_<start>_<end>'),
        ('x', r"txt:2: 'x' is not"),
        (f'x/{B}_000001_000002 1 1', rf"txt:2: clip '{B}_000001_000002' stands on line 1 already"),
    ],
)
def test_wrong_lists_of_mini_arnet(tmp_path, line, message):
    write_arnet(tmp_path, f'{B}_000001_000002 1 1\n{line}\n')
    with pytest.raises(AnnotationError, match=message):
        kinetics.read_listing(tmp_path, 'mini-arnet')


# ---- match


def clips(*rows, split='train'):
    return [
        KineticsClip(split, f'{name}_{start:06d}_{end:06d}', label, 'f', 1, name, start, end)
        for name, start, end, label in rows
    ]


def match(some, paths, folders=()):
    found = Found(
        *(
            {
                name: sorted(path for path in of if path.split('/')[-1].partition('.')[0] == name)
                for name in {path.split('/')[-1].partition('.')[0] for path in of}
            }
            for of in (paths, folders)
        )
    )
    matched = list(kinetics.match(Listing(('a b', 'c'), 'sorted', some, {}), found))
    assert [(clip.split, clip.id, clip.label) for clip in matched] == [
        (clip.split, clip.id, clip.label) for clip in some
    ]
    return matched, found


@pytest.mark.parametrize('name', [A, B, C, D])
@pytest.mark.parametrize('form', ['{}_000003_000013', '{}_3_13', '{}_000003', '{}_3', '{}'])
def test_names_of_files(name, form):
    path = f'any/{form.format(name)}.mp4'
    others = [f'{other}.mp4' for other in (A, B, C, D) if other != name]
    (clip,), found = match(clips((name, 3, 13, 0)), [path, *others])
    assert (clip.path, clip.kind) == (path, 'video')
    assert extra(found, [clip]) == Extra(3, tuple(sorted(others)))
    (clip,), _ = match(clips((name, 3, 13, 0)), others, [f'x/{form.format(name)}'])
    assert (clip.path, clip.kind) == (f'x/{form.format(name)}', 'frames')


@pytest.mark.parametrize(
    ('files', 'path', 'detail'),
    [
        (
            [f'{A}.mp4', f'{A}_3.mp4', f'{A}_3_13.mkv', f'{A}_000003_000013.webm'],
            f'{A}_000003_000013.webm',
            None,
        ),
        ([f'{A}.mp4', f'{A}_3.mp4', f'{A}_3_13.mkv'], f'{A}_3_13.mkv', None),
        ([f'{A}.mp4', f'{A}_3.mp4'], f'{A}_3.mp4', None),
        (
            [f'{A}.mp4', f'{A}_4.mp4'],
            None,
            f'{A}.mp4 tells no times, and there are other files of this id: {A}.mp4, {A}_4.mp4; rename it',
        ),
        (
            [f'{A}_3.mp4', f'{A}_000003.mp4'],
            None,
            f'several files have the name: {A}_000003.mp4, {A}_3.mp4; keep one',
        ),
        ([f'x/{A}.mp4', f'a_B/{A}.mp4'], f'a_B/{A}.mp4', None),
        ([f'x/a_b/{A}.mp4', f'train/c/{A}.mkv'], f'train/c/{A}.mkv', None),
        (
            [f'{A}_000004_000014.mp4'],
            None,
            (
                f'no file {A}_000003_000013.*, {A}_3.* or {A}.* is there; of this id there is '
                f'{A}_000004_000014.mp4, with other times; get the file'
            ),
        ),
        (
            [f'{A}_.mp4', f'{A}__3.mp4', f'x{A}.mp4', f'{A}_3_13_1.mp4'],
            None,
            (
                f'no file {A}_000003_000013.*, {A}_3.* or {A}.* is there; get '
                'the file, or name the folder that holds it'
            ),
        ),
    ],
)
def test_preferences(files, path, detail):
    (clip,), _ = match(clips((A, 3, 13, 0)), files)
    assert clip.path == path
    assert clip.detail.startswith(detail or '')
    assert (clip.reason is None) == (path is not None)


def test_names_that_several_clips_could_have():
    some = clips((A, 3, 13, 0), (A, 3, 8, 0), (B, 1, 2, 0), (B, 5, 6, 0), (C, 3, 13, 0)) + clips(
        (C, 3, 13, 0), split='val'
    )
    matched, _ = match(some, [f'{A}_3.mp4', f'{B}.mp4', f'{C}.mp4'])
    # the same clip in two splits is one
    assert [clip.reason for clip in matched] == ['ambiguous'] * 4 + [None] * 2
    assert (
        matched[0].detail == f'{A}_3.mp4 tells no end, and several clips of this id start there; rename it to'
        ' <id>_<start>_<end>'
    )
    assert (
        matched[2].detail
        == f'{B}.mp4 tells no times, and 2 clips of this id are listed; rename it to <id>_<start>_<end>'
    )
    assert [clip.path for clip in matched[4:]] == [f'{C}.mp4'] * 2
    files = [f'{A}_3.mp4', f'{A}_4.mp4']
    assert [clip.path for clip in match(clips((A, 3, 13, 0), (A, 4, 8, 0)), files)[0]] == files


# ---- any CSV

IDS = st.text(st.sampled_from('aZ0_-'), min_size=11, max_size=11)
LABELS = st.text(st.sampled_from('ab ,;\'"()é'), min_size=1, max_size=6).filter(
    lambda text: text == text.strip()
)
ROWS = st.lists(
    st.tuples(LABELS, IDS, st.integers(0, 99), st.integers(0, 99)),
    min_size=1,
    max_size=8,
    unique_by=lambda row: row[1],
)


@settings(max_examples=60)
@given(
    ROWS,
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(['\n', '\r\n', '\n\n']),
    st.sampled_from(['', '\ufeff']),
    st.permutations(range(6)),
    st.sampled_from(['{}', '{}.0', '{}.75']),
)
def test_any_rows(tmp_path_factory, rows, quoting, end, bom, order, time):
    table = io.StringIO()
    writer = csv.writer(table, quoting=quoting, lineterminator=end)
    for row in [
        tuple(HEADER.strip().split(',')),
        *((*row[:2], time.format(row[2]), row[3], 'train', 0) for row in rows),
    ]:
        writer.writerow([row[at] for at in order])
    folder = write(tmp_path_factory.mktemp('any'), train=bom + table.getvalue())
    listing = kinetics.read_listing(folder, 'custom')
    assert [
        (listing.classes[clip.label], clip.youtube_id, clip.start, clip.end) for clip in listing.clips
    ] == rows
    assert list(listing.classes) == sorted({row[0] for row in rows})
    found = Found({clip.id: (f'{clip.id}.mp4',) for clip in listing.clips}, {})
    assert [clip.path for clip in kinetics.match(listing, found)] == [
        f'{clip.id}.mp4' for clip in listing.clips
    ]


PIECES = [
    b'a',
    b'"',
    b',',
    b'\n',
    b'\r\n',
    b'train',
    b'val',
    b'1',
    b'2.5',
    b'\xff',
    b'\0',
    A.encode(),
    B.encode(),
    b'a,' + A.encode(),
    b',1,2,train\n',
]


@settings(max_examples=120)
@given(
    st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(PIECES), max_size=12).map(b''.join)),
    st.booleans(),
    st.booleans(),
)
def test_any_bytes(tmp_path_factory, content, header, one_file):
    folder = tmp_path_factory.mktemp('any')
    (folder / 'train.csv').write_bytes(b'label,youtube_id,time_start,time_end,split\n' * header + content)
    try:
        listing = kinetics.read_listing(folder / 'train.csv' if one_file else folder, 'custom')
    except AnnotationError as error:
        assert re.match(rf'{re.escape(str(folder))}/train\.csv:\d+: .*; ', str(error), re.DOTALL)
    else:
        rows = [
            row
            for row in csv.reader(content.decode().replace('\r\n', '\n').split('\n'))
            if any(field.strip() for field in row)
        ]
        assert sum(listing.official.values()) == len(rows)
        assert set(listing.classes) == {row[0].strip() for row in rows}
        assert all(1 < clip.line <= content.count(b'\n') + 2 for clip in listing.clips)


# ---- a slow, obvious matcher


@st.composite
def names(draw):
    youtube_id = draw(st.sampled_from([A, B, C, 'x', 'x_1', 'x_1_2']))
    times = draw(st.lists(st.integers(0, 2), max_size=2))
    return '_'.join([youtube_id, *(draw(st.sampled_from(['{}', '{:06d}'])).format(time) for time in times)])


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([A, B, C, 'x', 'x_1', 'x_1_2']), st.integers(0, 2), st.integers(0, 2), st.just(0)
        ),
        min_size=1,
        max_size=5,
        unique=True,
    ),
    st.lists(names(), max_size=6, unique=True),
)
def test_match_equals_a_slow_reference(rows, there):
    def slow(row):
        name, start, end, _ = row
        same = {other[1:3] for other in rows if other[0] == name}

        def reads(*times):
            return [
                file
                for file in there
                if re.fullmatch(re.escape(name) + ''.join(f'_0*{time}' for time in times), file)
            ]

        exact = f'{name}_{start:06d}_{end:06d}'
        if exact in there:
            return exact
        of_id = [file for file in there if re.fullmatch(re.escape(name) + r'(_\d+){0,2}', file)]
        for files, clear in (
            (reads(start, end), True),
            (reads(start), sum(times[0] == start for times in same) == 1),
            (reads(), len(same) == 1 and len(of_id) == 1),
        ):
            if files:
                return files[0] if clear and len(files) == 1 else 'ambiguous'
        return 'missing'

    matched, _ = match(clips(*rows), [f'{name}.mp4' for name in there])
    assert [(clip.path or clip.reason).removesuffix('.mp4') for clip in matched] == [
        slow(row) for row in rows
    ]


@pytest.mark.parametrize(
    ('name', 'counts', 'classes'),
    [
        ('surveillance_kinetics', {'train': 200, 'val': 100}, 2),
        ('railyard_kinetics', None, 4),
    ],
)
def test_the_real_sets(shared, name, counts, classes):
    data = shared / 'data' / name
    listing = kinetics.read_listing(data, 'custom')
    assert listing.official == (
        counts
        or {
            split: len((data / file).read_text().split('\n')) - 2
            for split, file in (('train', 'train.csv'), ('val', 'validate.csv'))
        }
    )
    assert len(listing.classes) == classes
    found = Found(
        {
            file.stem: (file.relative_to(data / 'videos').as_posix(),)
            for file in (data / 'videos').rglob('*.mp4')
        },
        {},
    )
    matched = list(kinetics.match(listing, found))
    assert all(clip.path == f'{clip.split}/{clip.id}.mp4' for clip in matched)
    assert extra(found, matched) == Extra(0, ())
