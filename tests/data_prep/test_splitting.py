"""Class folders that are divided: what goes where, and what stays when clips come."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import folder as script
from data_prep.annotations import folder
from data_prep.common.listing import AnnotationError, Found
from data_prep.common.splitting import Division, divide, divide_groups, group_of, numbers_of
from gfvideo.data.manifest import read_rows, validate

shares = st.sampled_from([(0.2, 0.0), (0.2, 0.1), (0.35, 0.29), (0.5, 0.0), (0.05, 0.05), (0.6, 0.3)])
names = st.text('abcdefgh0123456789', min_size=1, max_size=6)


def by_hash(groups):
    return sorted(groups, key=lambda group: hashlib.sha256(group.encode()).hexdigest())


def found_of(*paths):
    named = {path.rpartition('/')[2].partition('.')[0]: [] for path in paths}
    for path in sorted(paths):
        named[path.rpartition('/')[2].partition('.')[0]].append(path)
    return Found(named, {})


# ---- the rule


@pytest.mark.parametrize(
    ('groups', 'val', 'test', 'expected'),
    [
        (1, 0.2, 0.1, (0, 0)),
        (2, 0.2, 0.1, (1, 0)),
        (3, 0.2, 0.1, (1, 1)),
        (2, 0.9, 0.0, (1, 0)),
        (7, 0.2, 0.0, (1, 0)),
        (8, 0.2, 0.0, (2, 0)),
        (10, 0.25, 0.0, (3, 0)),  # 2.5
        (50, 0.29, 0.0, (15, 0)),  # 14.5, in floats 14.499999999999998
        (100, 0.2, 0.1, (20, 10)),
        (5, 0.5, 0.4, (3, 1)),  # 2.5 and 2, and one trains
    ],
)
def test_numbers_by_hand(groups, val, test, expected):
    assert numbers_of(groups, val, test) == expected


@given(st.integers(1, 300), shares)
def test_numbers_are_the_shares_with_one_of_each_at_least(groups, pair):
    val, test = numbers_of(groups, *pair)
    assert groups - val - test >= 1
    assert (val >= 1) == (groups >= 2) and (test >= 1) == (pair[1] > 0 and groups >= 3)
    if groups >= 60:
        half_up = [int((Decimal(str(share)) * groups).quantize(Decimal(1), ROUND_HALF_UP)) for share in pair]
        assert [val, test] == half_up


@given(st.sets(names, min_size=1, max_size=40), shares)
def test_a_class_is_cut_in_the_order_of_hashes(groups, pair):
    splits = divide_groups(dict.fromkeys(groups, ['run']), *pair)
    order = by_hash(groups)
    val, test = numbers_of(len(groups), *pair)
    train = len(groups) - val - test
    assert [splits[group] for group in order] == ['val'] * val + ['train'] * train + ['test'] * test


def test_the_splits_are_those_of_every_machine():
    clips = {f'run/{number}.mp4': 'run' for number in range(10)}
    splits = divide(clips, Division(0.2, 0.1)).splits
    assert [path for path, split in splits.items() if split == 'val'] == ['run/2.mp4', 'run/7.mp4']
    assert [path for path, split in splits.items() if split == 'test'] == ['run/0.mp4']


@given(st.sets(names, min_size=1, max_size=30), st.sets(names, min_size=1, max_size=30), names, shares)
def test_a_new_clip_moves_at_most_one_clip_across_each_border(groups, others, new, pair):
    classes = {**{f'run/{group}': ['run'] for group in groups}, **{f'sit/{one}': ['sit'] for one in others}}
    before = divide_groups(classes, *pair)
    after = divide_groups({**classes, f'run/{new}': ['run']}, *pair)
    moves = Counter(frozenset((before[group], after[group])) for group in before)
    assert moves[frozenset(('train', 'val'))] <= 1 and moves[frozenset(('train', 'test'))] <= 1
    assert moves[frozenset(('val', 'test'))] == 0
    assert all(before[group] == after[group] for group in before if group.startswith('sit'))


@settings(deadline=None)
@given(
    st.dictionaries(names, st.sets(st.sampled_from('ABCDE'), min_size=1), min_size=1, max_size=40),
    shares,
    st.randoms(use_true_random=False),
)
def test_groups_that_span_classes(classes, pair, random):
    splits = divide_groups(classes, *pair)
    assert splits.keys() == classes.keys()
    shuffled = list(classes)
    random.shuffle(shuffled)
    assert divide_groups({group: sorted(classes[group]) for group in shuffled}, *pair) == splits
    fewest = min('ABCDE', key=lambda name: (sum(name in some for some in classes.values()) or 99, name))
    members = [group for group in by_hash(classes) if fewest in classes[group]]
    counts = Counter(splits[group] for group in members)
    val, test = numbers_of(len(members), *pair)  # of the class that comes first they are exact
    assert (counts['val'], counts['test']) == (val, test)


def test_subjects_who_do_everything_are_divided_like_one_class():
    classes = {f's{number:02d}': ['run', 'sit', 'jump'] for number in range(20)}
    assert Counter(divide_groups(classes, 0.2, 0.1).values()) == dict(train=14, val=4, test=2)


def test_a_small_class_is_not_emptied_by_a_large_one_that_shares_its_groups():
    for small in range(7):
        members = {f'g{small}', f'g{small + 1}'}
        classes = {
            f'g{number}': ['large', *(['small'] if f'g{number}' in members else [])] for number in range(8)
        }
        splits = divide_groups(classes, 0.2)
        assert {splits[group] for group in members} == {'val', 'train'}
        assert Counter(splits.values())['val'] == 2


# ---- groups


@settings(max_examples=50)
@given(
    st.sets(
        st.tuples(st.sampled_from(['run', 'sit']), st.integers(0, 9), st.integers(0, 3)),
        min_size=14,
        max_size=50,
    ),
    shares,
)
def test_groups_are_never_torn(clips, pair):
    paths = {f'{name}/s{subject}_{take}.mp4': name for name, subject, take in clips}
    divided = divide(paths, Division(*pair, re.compile(r's(\d+)_')))
    homes = {}
    for path, split in divided.splits.items():
        homes.setdefault(path.partition('/')[2].partition('_')[0], set()).add(split)
    assert all(len(some) == 1 for some in homes.values())
    assert divided.groups == Counter(next(iter(some)) for some in homes.values())


def test_names_of_groups():
    assert group_of('run/s07_1.mp4', None) == 'run/s07_1.mp4'
    assert group_of('run/s07_1.mp4', re.compile('/([^/_]+)_')) == 's07'
    assert group_of('run/s07_1.mp4', re.compile(r'(\w+)/(?P<group>\w+)_')) == 's07'
    assert group_of('run/cafe\u0301_1.mp4', re.compile('/(.+)_')) == 'caf\xe9'  # as another system spells it
    for path, pattern, told in (
        ('run/7.mp4', '/([^/_]+)_', r'run/7\.mp4: the pattern of groups, .*, finds nothing in this path'),
        ('run/x.mp4', r'/(\d*)', r'run/x\.mp4: .* finds no text for the group in this path'),
        ('run/x.mp4', r'x|(\d)', r'run/x\.mp4: .* finds no text for the group in this path'),
    ):
        with pytest.raises(AnnotationError, match=told):
            group_of(path, re.compile(pattern))


# ---- what is told


@pytest.mark.parametrize(
    ('arguments', 'told'),
    [
        ((0.0,), 'validation clips is 0.0; give one between 0 and 1'),
        ((1.0,), 'validation clips is 1.0'),
        ((float('nan'),), 'validation clips is nan'),
        ((0.2, -0.1), 'test clips is -0.1'),
        ((0.7, 0.3), 'are 0.7 and 0.3, which leaves nothing to train on'),
        ((0.2, 0.0, re.compile('s..')), r"the pattern 's\.\.' has no group"),
    ],
)
def test_divisions_that_are_none(arguments, told):
    with pytest.raises(ValueError, match=told):
        Division(*arguments)


def test_classes_without_clips_to_validate_or_test_on_are_told():
    clips = {'run/1.mp4': 'run', 'sit/1.mp4': 'sit', 'sit/2.mp4': 'sit'}
    divided = divide({**clips, **{f'up/{number}.mp4': 'up' for number in range(3)}}, Division(0.2, 0.1))
    assert divided.warnings == [
        '1 of 3 classes have no validation clip (that takes two clips): run',
        '2 of 3 classes have no test clip (that takes three clips): run, sit',
    ]
    assert divided.groups == {} and divided.splits['run/1.mp4'] == 'train'
    with pytest.raises(AnnotationError, match='none of 2 classes has two clips, so none is left to validate'):
        divide({'run/1.mp4': 'run', 'sit/1.mp4': 'sit'}, Division(0.2))
    with pytest.raises(AnnotationError, match='none of 2 classes has two groups'):
        divide(clips, Division(0.2, group=re.compile('(mp4)')))


def test_listing_of_divided_folders():
    found = found_of('sit/a_1.mp4', 'sit/a_2.mp4', 'sit/b_1.mp4', 'run/c_1.mp4')
    listing = folder.read_folders(found, division=Division(0.5, group=re.compile('/(.)_')))
    homes = {clip.id: clip.split for clip in listing.clips}
    assert (
        homes['sit/a_1.mp4'] == homes['sit/a_2.mp4'] != homes['sit/b_1.mp4']
        and homes['run/c_1.mp4'] == 'train'
    )
    assert listing.classes == ('run', 'sit') and listing.groups == dict(train=2, val=1)
    assert listing.official == Counter(homes.values())
    assert listing.warnings == [
        '1 of 2 classes have no validation clip (that takes two groups that other classes leave free): run'
    ]
    with pytest.raises(AnnotationError, match=r'does not stand at <class>/<clip>; .* give no share if'):
        folder.read_folders(found_of('train/run/1.mp4'), division=Division(0.5))
    with pytest.raises(ValueError, match='give one of the two'):
        folder.read_folders(found, 'train', Division(0.5))


# ---- the command


def run(videos, out, *flags):
    given_flags = ['--videos', videos, '--out', out, '--workers', '1', '--to', 'original', *flags]
    return script.main([*map(str, given_flags), '--steps', 'index,verify,lists'])


def splits_of(out):
    manifest = validate(out, check_files=True)
    return {row.id: split for split in manifest.splits for row in read_rows(manifest, split)}


@pytest.fixture
def videos(tmp_path, clip, lay):
    return lay(
        tmp_path / 'videos',
        {
            f'{name}/s{subject}_{take}.mp4': clip(6)
            for name in ('run', 'sit')
            for subject in range(4)
            for take in (1, 2)
        },
    )


def test_a_prepared_dataset(here, videos, tmp_path, clip, lay, content, caplog):
    caplog.set_level(logging.INFO, logger='data_prep')
    flags = '--val-share', '0.25', '--test-share', '0.2', '--group', '/([^/_]+)_'
    assert run(videos, tmp_path / 'out', *flags) == 0
    first = splits_of(tmp_path / 'out')
    order = by_hash(f's{subject}' for subject in range(4))
    homes = dict(zip(order, ('val', 'train', 'train', 'test')))
    assert first == {
        f'{name}/{s}_{take}.mp4': homes[s] for name in ('run', 'sit') for s in homes for take in (1, 2)
    }
    assert 'clips were kept together in groups: 2 train + 1 val + 1 test' in caplog.text
    assert 'train: 8 of 8 listed clips can be used (100.0 %), listed in 2 groups' in caplog.text
    told = json.loads((tmp_path / 'out' / 'dataset.json').read_text())['preparation']['arguments']
    assert (told['val_share'], told['test_share'], told['group']) == (0.25, 0.2, '/([^/_]+)_')

    def without_work():
        return {
            name: data for name, data in content(tmp_path / 'out').items() if not name.startswith('work/')
        }

    written = without_work()
    assert run(videos, tmp_path / 'out', *flags) == 0  # again
    assert without_work() == written
    lay(videos, {'run/s9_1.mp4': clip(7)})  # five subjects: still one that validates and one that tests
    assert run(videos, tmp_path / 'out', *flags) == 0
    after = splits_of(tmp_path / 'out')
    assert (
        len(after) == 17
        and len({path.partition('/')[2][:2] for path in first if first[path] != after[path]}) <= 2
    )


def test_without_groups_each_class_is_divided(here, videos, tmp_path):
    assert run(videos, tmp_path / 'out', '--val-share', '0.2') == 0
    homes = splits_of(tmp_path / 'out')
    for name in ('run', 'sit'):
        clips = by_hash(path for path in homes if path.startswith(name))
        assert [homes[path] for path in clips] == ['val'] * 2 + ['train'] * 6
    told = json.loads((tmp_path / 'out' / 'dataset.json').read_text())['preparation']['arguments']
    assert (told['val_share'], told['test_share'], told['group']) == (0.2, None, None)


@pytest.mark.parametrize(
    ('flags', 'told'),
    [
        (['--val-share', '0.2', '--split', 'train'], '--split says the splits already'),
        (
            ['--val-share', '0.2', '--annotations', '.', '--form', 'tsm'],
            '--annotations says the splits already',
        ),
        (['--test-share', '0.2'], '--test-share goes with --val-share'),
        (['--group', '(.)'], '--group goes with --val-share'),
        (['--val-share', '1.5'], 'validation clips is 1.5'),
        (['--val-share', '0.5', '--test-share', '0'], '--test-share is 0.0; give a share between 0 and 1'),
        (['--val-share', '0.5', '--test-share', 'nan'], '--test-share is nan'),
        (['--val-share', '0.5', '--test-share', '0.5'], 'leaves nothing to train on'),
        (['--val-share', '0.5', '--group', '(.'], 'is no regular expression'),
        (
            ['--val-share', '0.5', '--group', '.'],
            'has no group; put what clips have in common in parentheses',
        ),
    ],
)
def test_flags_that_contradict(flags, told, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path, tmp_path / 'out', *flags)
    assert told in capsys.readouterr().err.replace('\n', ' ')
