from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.annotations import something_v2
from data_prep.common.listing import AnnotationError, Extra, Found, Indexed, Listed, extra

V2 = 'something-something-v2-'
LABELS = {
    'Pushing something from left to right': '1',
    'Holding something next to something': '0',
    "Moving, 'so' (far)": '2',
}
TRAIN = [
    {
        'id': '78687',
        'label': 'holding potato next to box',
        'template': 'Holding [something] next to [something]',
        'placeholders': ['potato', 'box'],
    },
    {'id': '9', 'label': 'x', 'template': 'Pushing [something] from left to right', 'placeholders': ['x']},
    {'id': '10', 'label': 'x', 'template': "Moving, 'so' (far)", 'placeholders': []},
]
VALIDATION = [{'id': '5', 'template': 'Pushing [something] from left to right'}]


def write(folder, prefix=V2, **changes):
    folder.mkdir(exist_ok=True)
    for stem, content in {'labels': LABELS, 'train': TRAIN, 'validation': VALIDATION, **changes}.items():
        text = content if isinstance(content, str) else json.dumps(content, indent=0)
        (folder / f'{prefix}{stem}.json').write_bytes(text.encode())
    return folder


def pairs(listing, split):
    return [(clip.id, clip.label) for clip in listing.clips if clip.split == split]


@pytest.mark.parametrize(('prefix', 'below'), [(V2, ''), ('', ''), (V2, 'labels'), ('', 'labels')])
def test_both_name_schemes(tmp_path, prefix, below):
    folder = write(tmp_path / below, prefix)
    for given_folder in {tmp_path, folder}:
        listing = something_v2.read_listing(given_folder)
        assert listing.classes == (
            'Holding something next to something',
            'Pushing something from left to right',
            "Moving, 'so' (far)",
        )
        assert listing.label_order == 'labels.json'
        file = str(folder / f'{prefix}train.json')
        assert listing.clips == [
            Listed('train', '78687', 0, file, 2),
            Listed('train', '9', 1, file, 11),
            Listed('train', '10', 2, file, 19),
            Listed('val', '5', 1, str(folder / f'{prefix}validation.json'), 2),
        ]
        assert listing.official == {'train': 3, 'val': 1}
        assert listing.expected == something_v2.PUBLISHED == {'train': 168_913, 'val': 24_777, 'test': 27_157}
        assert len(listing.warnings) == 3  # train, val, classes


def test_counts(tmp_path):
    write(tmp_path)
    listing = something_v2.read_listing(tmp_path, counts='ignore')
    assert (listing.expected, listing.warnings) == ({}, [])
    with pytest.raises(AnnotationError, match='train: the annotation lists 3 clips, 168,913 are published'):
        something_v2.read_listing(tmp_path, counts='assert')


def test_test_split(tmp_path):
    write(tmp_path, test=[{'id': '4'}, {'id': '2'}, {'id': '3', 'template': "Moving, 'so' ([far])"}])
    listing = something_v2.read_listing(tmp_path, counts='ignore')
    assert pairs(listing, 'test') == [('4', None), ('2', None), ('3', 2)]
    assert listing.warnings == ['2 of 3 test clips have no answer: 4, 2']
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'labels' / 'test-answers.csv').write_bytes(
        b"\xef\xbb\xbf2;Holding something next to something\r\n4;Moving, 'so' (far)\r\n"
    )
    listing = something_v2.read_listing(tmp_path, counts='ignore')
    assert pairs(listing, 'test') == [('4', 2), ('2', 0), ('3', 2)]
    assert listing.warnings == []


def test_labels_may_have_plain_numbers_and_a_mark(tmp_path):
    write(
        tmp_path,
        labels=(
            '\ufeff{"Holding something next to something" : 0,\r\n"Pushing something from left to right":1,'
            '"Moving, \'so\' (far)":2}'
        ),
    )
    assert [label for _, label in pairs(something_v2.read_listing(tmp_path), 'train')] == [0, 1, 2]


ONE = '{"id": "10", "template": "Holding [something] next to [something]"}'


@pytest.mark.parametrize(
    ('stem', 'text', 'message'),
    [
        (
            'train',
            f'[\n{ONE},\n{{"id": "11", "template": "Eating [it]"}}\n]',
            (
                r"train\.json:3: template 'Eating \[it\]' of clip '11' is none of the 3 classes; this file"
                r' and the labels file'
            ),
        ),
        ('train', f'[\n{ONE},\n\n{ONE}]', r"train\.json:4: clip '10' stands on line 2 already; remove one"),
        (
            'train',
            '[\n{"id": "10", "label": "x"}]',
            r"train\.json:2: the template of clip '10' is None, expected text",
        ),
        (
            'train',
            '[{"id": 10, "template": "x"}]',
            r"train\.json:1: the entry \{'id': 10, .* has no \"id\" with digits as text",
        ),
        ('train', '[{"id": "1/0", "template": "x"}]', r'train\.json:1: the entry'),
        ('train', '["10"]', r"train\.json:1: the entry '10' has no"),
        ('train', '[\n]', r'train\.json:1: lists no clip'),
        ('train', '{}', r'train\.json:1: not the JSON that is expected \(expected a list, "\["\), at .\{\}.'),
        (
            'train',
            f'[\n{ONE}\n',
            r'train\.json:2: not the JSON that is expected \(expected "," or "\]"\), at .the end of the file',
        ),
        ('train', f'[\n{ONE},\n]', r'train\.json:3: not the JSON that is expected \(Expecting value\)'),
        ('train', f'[{ONE}]\n{ONE}', r'train\.json:2: not .* \(something follows the closing "\]"\)'),
        ('train', '[\n{"id": "10",\n"id": "11"}]', r"train\.json:2: not .*key 'id' stands twice"),
        ('train', '[' * 100_000, r'train\.json:1: not .*recursion'),
        ('train', '[\n' + '1' * 5000 + ']', r'train\.json:2: not .*digits'),
        ('train', '', r'train\.json:1: not the JSON'),
        ('validation', '[\n\n{"id": "1"}]', r'validation\.json:3: the template'),
        ('test', '[{"id": "1"},\n{"id": "1"}]', r'test\.json:2: clip'),
        ('test', '[{"id": "1", "template": 3}]', r'test\.json:1: the template of clip .1. is 3'),
        (
            'labels',
            '{"a": "0",\n"b": "2"}',
            r"labels\.json:2: class 'b' has the number 2, but there are 2 classes; number them 0\.\.1",
        ),
        ('labels', '{"a": "0",\n"b": "0"}', r"labels\.json:2: number 0 of class 'b' belongs to 'a' already"),
        ('labels', '{"a": "0",\n"a": "1"}', r"labels\.json:2: class 'a' stands on line 1 already"),
        ('labels', '{"a": "x"}', r"labels\.json:1: the number of class 'a' is 'x'"),
        ('labels', '{"a": true}', r"labels\.json:1: the number of class 'a' is True"),
        ('labels', '{"a": -1}', r"labels\.json:1: the number of class 'a' is -1"),
        ('labels', '{"": 0}', r"labels\.json:1: the class of number 0 is ''"),
        ('labels', r'{"\ud800": 0}', r'labels\.json:1: the class of number 0'),
        ('labels', '{"a"}', r'labels\.json:1: not .*"key": value'),
        ('labels', '{}', r'labels\.json:1: lists no class'),
        ('labels', '["a"]', r'labels\.json:1: not .*expected a object'),
    ],
)
def test_wrong_files(tmp_path, stem, text, message):
    write(tmp_path, **{stem: text})
    with pytest.raises(AnnotationError, match=message):
        something_v2.read_listing(tmp_path)


@pytest.mark.parametrize(
    ('answers', 'message'),
    [
        ('\n1;Holding\n', r"test-answers\.csv:2: label 'Holding' of clip '1' is none of the 3 classes"),
        ('2;Holding something next to something\n', r"test-answers\.csv:1: clip '2' is not in the test list"),
    ],
)
def test_wrong_answers(tmp_path, answers, message):
    write(tmp_path, test=[{'id': '1'}])
    (tmp_path / 'test-answers.csv').write_text(answers)
    with pytest.raises(AnnotationError, match=message):
        something_v2.read_listing(tmp_path)


def test_absent_files(tmp_path):
    with pytest.raises(
        AnnotationError,
        match=r'holds none of something-something-v2-labels\.json, labels\.json, labels/something',
    ):
        something_v2.read_listing(tmp_path)


def test_match(tmp_path):
    write(tmp_path, test=[{'id': '1'}, {'id': '2'}])
    found = Found(
        {
            '9': ('a/b/9.webm',),
            '10': ('10.mp4', '10.webm'),
            '1': ('train/1.webm', 'test/1.webm'),
            '99': ('99.mkv',),
        },
        {'9': ('frames/9',), '5': ('frames/5',)},
    )
    listing = something_v2.read_listing(tmp_path)
    matched = list(something_v2.match(listing, found))
    assert [clip.id for clip in matched] == [clip.id for clip in listing.clips]
    assert [(clip.path, clip.kind, clip.reason) for clip in matched] == [
        (None, 'video', 'missing'),
        ('a/b/9.webm', 'video', None),
        (None, 'video', 'ambiguous'),
        ('frames/5', 'frames', None),
        ('test/1.webm', 'video', None),
        (None, 'video', 'missing'),
    ]
    assert (
        matched[0].detail
        == 'no video 78687.* and no folder of images 78687 is there; get the file, or name the folder that'
        ' holds it'
    )
    assert matched[2] == Indexed(
        'train',
        '10',
        2,
        None,
        'video',
        'ambiguous',
        'several files have the name: 10.mp4, 10.webm; keep one, or '
        'put it below a folder named as its split or class',
    )
    assert extra(found, matched) == Extra(5, ('10.mp4', '10.webm', '99.mkv', 'frames/9', 'train/1.webm'))


# ---- any JSON

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150)
@given(VALUES, st.sampled_from([None, 0, 1]), st.data())
def test_elements_are_those_of_json(tmp_path_factory, value, indent, data):
    file = tmp_path_factory.mktemp('any') / 'a.json'
    text = json.dumps(value, indent=indent)
    at = data.draw(st.integers(0, len(text)))
    text = data.draw(
        st.sampled_from([text, text[:at], text[:at] + data.draw(st.sampled_from(',:[]{}"0 \n')) + text[at:]])
    )
    file.write_text(text, newline='')
    for brackets, kind in (('[]', list), ('{}', dict)):
        try:
            expected = json.loads(text, object_pairs_hook=something_v2.unique_keys)
            expected = (
                None if type(expected) is not kind else list(expected.items()) if kind is dict else expected
            )
        except ValueError:
            expected = None
        try:
            elements = list(something_v2.elements(file, brackets))
        except AnnotationError as error:
            assert expected is None
            assert re.match(rf'{re.escape(str(file))}:\d+: .*; ', str(error), re.DOTALL)
        else:
            assert repr([element for _, element in elements]) == repr(expected)  # repr: nan differs from nan
            assert all(line <= text.count('\n') + 1 for line, _ in elements)


@settings(max_examples=40)
@given(st.data())
def test_cut_anywhere(tmp_path_factory, data):
    folder = write(tmp_path_factory.mktemp('cut'))
    stem = data.draw(st.sampled_from(['labels', 'train', 'validation']))
    file = folder / f'{V2}{stem}.json'
    content = file.read_bytes()
    file.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(
        AnnotationError,
        match=rf'{stem}\.json:\d+: not the JSON that is expected .*; correct the line or download',
    ):
        something_v2.read_listing(folder)


@settings(max_examples=100)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                'id': st.sampled_from(['1', '2', '3', '', 'x', 4]),
                'template': st.sampled_from(
                    ['Holding [something] next to something', 'Holding', "[Moving], 'so' (far)", None]
                ),
            },
        )
        | VALUES,
        max_size=4,
    )
)
def test_any_entries(tmp_path_factory, entries):
    folder = write(tmp_path_factory.mktemp('any'), train=entries)
    classes = {'Holding [something] next to something': 0, "[Moving], 'so' (far)": 2}
    right = [
        isinstance(entry, dict) and entry.get('id') in ('1', '2', '3') and entry.get('template') in classes
        for entry in entries
    ]
    try:
        listing = something_v2.read_listing(folder)
    except AnnotationError as error:
        assert re.match(rf'{re.escape(str(folder))}/{V2}train\.json:\d+: .*; ', str(error), re.DOTALL)
        assert not entries or not all(right) or len({entry['id'] for entry in entries}) < len(entries)
    else:
        assert pairs(listing, 'train') == [(entry['id'], classes[entry['template']]) for entry in entries]


def test_the_real_set(shared):
    data = shared / 'data' / 'turning_camera_ssv2'
    listing = something_v2.read_listing(data, counts='ignore')
    assert (listing.official, len(listing.classes), listing.warnings) == ({'train': 960, 'val': 300}, 12, [])
    lines = (data / f'{V2}train.json').read_text().split('\n')
    for clip in listing.clips[:960:100]:
        assert lines[clip.line] == f'"id": "{clip.id}",'  # the line after that of the entry's brace
    found = Found({file.stem: (file.name,) for file in (data / 'videos').iterdir()}, {})
    matched = list(something_v2.match(listing, found))
    assert all(clip.path == f'{clip.id}.webm' for clip in matched)
    assert extra(found, matched) == Extra(0, ())
