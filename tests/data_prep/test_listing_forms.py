"""The lists of public sets of videos, a few lines of each in the published form."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_lists import DIVING48, EPIC, HMDB51, UCF101, WLASL, written

from data_prep.annotations import diving48, epic_kitchens, folder, official_splits, wlasl
from data_prep.common.cutting import Part
from data_prep.common.listing import AnnotationError, Found


def triples(listing):
    return [(clip.split, clip.id, listing.classes[clip.label]) for clip in listing.clips]


# ---------------------------------------------------------------------------------------------------- UCF101


@pytest.mark.parametrize('inside', ['', 'ucfTrainTestlist'])
def test_ucf101(tmp_path, inside):
    written(tmp_path / inside, UCF101)
    listing = official_splits.read_ucf101(tmp_path, 1)
    assert triples(listing) == [
        ('train', 'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi', 'ApplyEyeMakeup'),
        ('train', 'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi', 'ApplyEyeMakeup'),
        ('train', 'ApplyLipstick/v_ApplyLipstick_g08_c01.avi', 'ApplyLipstick'),
        ('train', 'YoYo/v_YoYo_g25_c05.avi', 'YoYo'),
        ('val', 'ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi', 'ApplyEyeMakeup'),
        ('val', 'ApplyLipstick/v_ApplyLipstick_g01_c01.avi', 'ApplyLipstick'),
        ('val', 'YoYo/v_YoYo_g01_c01.avi', 'YoYo'),
    ]
    assert listing.classes == ('ApplyEyeMakeup', 'ApplyLipstick', 'YoYo')
    assert listing.label_order == 'classInd.txt' and listing.official == {'train': 4, 'val': 3}
    assert 'train: the annotation lists 4 clips, 9,537 are published' in listing.warnings[0]
    assert [(c.split, c.id) for c in official_splits.read_ucf101(tmp_path, 2).clips] == [
        ('train', 'YoYo/v_YoYo_g01_c01.avi'),
        ('val', 'YoYo/v_YoYo_g25_c05.avi'),
    ]


def test_every_published_split_of_ucf101_holds_all_clips():
    assert {sum(counts.values()) for counts in official_splits.PUBLISHED_UCF101.values()} == {13_320}


def test_groups_of_ucf101_on_both_sides_are_told(tmp_path):
    written(tmp_path, UCF101, testlist01='ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c07.avi\n')
    warnings = official_splits.read_ucf101(tmp_path, 1).warnings
    told = '1 groups of clips stand in more than one split'
    assert any(told in text and 'v_ApplyEyeMakeup_g08' in text for text in warnings)


def test_clips_of_ucf101_are_found_by_path_at_any_depth(tmp_path):
    listing = official_splits.read_ucf101(written(tmp_path, UCF101), 1)
    below = {clip.id: f'UCF-101/{clip.id}' for clip in listing.clips}
    lost = below.pop('YoYo/v_YoYo_g01_c01.avi')
    found = Found({Path(path).stem: [path] for path in below.values()}, {})
    matched = list(folder.match(listing, found))
    assert {clip.id: clip.path for clip in matched if clip.path} == below
    assert [(clip.id, clip.reason) for clip in matched if not clip.path] == [
        (lost.removeprefix('UCF-101/'), 'missing')
    ]


@pytest.mark.parametrize(
    ('name', 'text', 'told'),
    [
        ('classInd', '0 ApplyEyeMakeup\n', 'classInd.txt:1: .* is not "1 <class>"'),
        ('classInd', '1 A\n3 B\n', 'classInd.txt:2: .* is not "2 <class>"'),
        ('classInd', '1 A\n2 A\n', "classInd.txt:2: class 'A' stands on line 1 already"),
        ('trainlist01', 'YoYo/v_YoYo_g25_c05.avi 2\n', "trainlist01.txt:1: the label .* is '2', but YoYo is"),
        ('trainlist01', 'YoYo/v_YoYo_g25_c05.avi\n', 'trainlist01.txt:1: .* has no label'),
        ('trainlist01', 'Polo/v_Polo_g01_c01.avi 1\n', "trainlist01.txt:1: 'Polo' is none of the 3 classes"),
        ('trainlist01', 'v_YoYo_g25_c05.avi 3\n', 'is no path <class>/<clip>'),
        ('trainlist01', '\n', 'trainlist01.txt:1: lists no clip'),
        ('testlist01', 'YoYo/a.avi\nYoYo/a.avi\n', 'testlist01.txt:2: .* stands on line 1 already'),
    ],
)
def test_lists_of_ucf101_that_mismatch_are_refused(tmp_path, name, text, told):
    with pytest.raises(AnnotationError, match=told):
        official_splits.read_ucf101(written(tmp_path, UCF101, **{name: text}), 1)


@pytest.mark.parametrize('read', [official_splits.read_ucf101, official_splits.read_hmdb51])
@pytest.mark.parametrize('number', [0, 4, '1'])
def test_other_numbers_of_splits_are_refused(tmp_path, read, number):
    with pytest.raises(ValueError, match=rf'split is {number!r}; the official ones are 1, 2 and 3'):
        read(tmp_path, number)


def test_a_split_whose_lists_are_not_there_is_told(tmp_path):
    with pytest.raises(AnnotationError, match=r'holds none of trainlist03.txt, ucfTrainTestlist/trainlist03'):
        official_splits.read_ucf101(written(tmp_path, UCF101), 3)
    with pytest.raises(AnnotationError, match=r'holds no <class>_test_split3.txt'):
        official_splits.read_hmdb51(written(tmp_path, HMDB51), 3)


# ---------------------------------------------------------------------------------------------------- HMDB51


@pytest.mark.parametrize('inside', ['', 'testTrainMulti_7030_splits'])
def test_hmdb51(tmp_path, inside):
    written(tmp_path / inside, HMDB51)
    listing = official_splits.read_hmdb51(tmp_path, 1)
    assert triples(listing) == [
        ('train', 'brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi', 'brush_hair'),
        ('val', 'brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_1.avi', 'brush_hair'),
        ('train', 'ride_bike/#122_Lance_ride_bike_f_cm_np1_ri_med_0.avi', 'ride_bike'),
        ('val', 'ride_bike/On_the_way_ride_bike_f_cm_np1_ri_med_1.avi', 'ride_bike'),
    ]
    assert listing.official == {'train': 2, 'val': 2}
    assert listing.warnings[-1].startswith('1 clips are neither of the training nor of the test part of')
    assert [clip.split for clip in official_splits.read_hmdb51(tmp_path, 2).clips] == ['val']


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        ('a.avi 3\n', 'brush_hair_test_split1.txt:1: .* is not "<clip>.avi 0", 1 or 2'),
        ('a.avi\n', 'is not "<clip>.avi 0", 1 or 2'),
        ('a.avi 1\na.avi 2\n', "split1.txt:2: 'a.avi' stands on line 1 already"),
        ('', 'lists no clip'),
    ],
)
def test_lists_of_hmdb51_that_mismatch_are_refused(tmp_path, text, told):
    with pytest.raises(AnnotationError, match=told):
        official_splits.read_hmdb51(written(tmp_path, HMDB51, brush_hair_test_split1=text), 1)


# --------------------------------------------------------------------------------------------------- Diving48


def test_diving48(tmp_path):
    listing = diving48.read_listing(written(tmp_path, DIVING48))
    assert triples(listing) == [
        ('train', '-mm0_0ABCde_00155', 'Back 15som 05Twis FREE'),
        ('train', '_8V0_0ABCde_00000', 'Back Dive NoTwis PIKE'),
        ('val', '2x00_0ABCde_00001', 'Back Dive NoTwis PIKE'),
    ]
    assert listing.label_order == 'Diving48_vocab.json' and listing.official == {'train': 2, 'val': 1}
    found = Found({'-mm0_0ABCde_00155': ['rgb/-mm0_0ABCde_00155.mp4']}, {'2x00_0ABCde_00001': ['f/2x00']})
    assert [(clip.path, clip.kind, clip.reason) for clip in diving48.match(listing, found)] == [
        ('rgb/-mm0_0ABCde_00155.mp4', 'video', None),
        (None, 'video', 'missing'),
        ('f/2x00', 'frames', None),
    ]


@pytest.mark.parametrize(
    ('name', 'text', 'told'),
    [
        ('Diving48_V2_train', '[{"vid_name": "a", "label": 2}]', r"label of 'a' is 2, outside 0\.\.1"),
        ('Diving48_V2_train', '[{"vid_name": "a", "label": -1}]', r"label of 'a' is -1, outside 0\.\.1"),
        ('Diving48_V2_train', '[{"vid_name": "a", "label": "0"}]', r"label of 'a' is '0', outside"),
        ('Diving48_V2_train', '[{"video": "a", "label": 0}]', 'has no vid_name'),
        ('Diving48_V2_train', '[]', 'lists no clip'),
        ('Diving48_V2_train', '[{"vid_name": "a", "label": 0},', 'Diving48_V2_train.json:1: not the JSON'),
        (
            'Diving48_V2_test',
            '[{"vid_name": "a", "label": 0},\n{"vid_name": "a", "label": 0}]',
            "test.json:2: 'a' stands on line 1",
        ),
        ('Diving48_vocab', '["Back"]', 'is no list of the parts of a dive'),
        ('Diving48_vocab', '[["Back"], ["Back"]]', "the dive 'Back' stands on line 1 already"),
        ('Diving48_vocab', '[]', 'lists no class'),
    ],
)
def test_lists_of_diving48_that_mismatch_are_refused(tmp_path, name, text, told):
    with pytest.raises(AnnotationError, match=told):
        diving48.read_listing(written(tmp_path, DIVING48, **{name: text}))


def test_a_missing_list_of_diving48_is_told(tmp_path):
    written(tmp_path, DIVING48)
    (tmp_path / 'Diving48_vocab.json').unlink()
    with pytest.raises(AnnotationError, match=r'holds none of Diving48_vocab.json'):
        diving48.read_listing(tmp_path)


# ------------------------------------------------------------------------------------------------------ WLASL


def test_wlasl(tmp_path):
    listing = wlasl.read_listing(written(tmp_path, WLASL), 'v0.3')
    assert triples(listing) == [
        ('train', '69241', 'book'),
        ('val', '65225', 'book'),
        ('train', '68011', 'drink'),
        ('test', '68208', 'drink'),
    ]
    assert [clip.parts for clip in listing.clips] == [
        (Part('69241'),),
        (Part('65225'), Part('0AbCd_ex0m1', first=4, end=12)),
        (Part('68011'), Part('0AbCd_ex0m1', first=20, end=30)),
        (Part('68208'), Part('0LoSt_ex0m2', first=0, end=60)),
    ]
    subset = wlasl.read_listing(tmp_path, 'nslt_100')
    assert triples(subset) == [
        ('train', '69241', 'book'),
        ('val', '65225', 'book'),
        ('test', '68011', 'drink'),
    ]
    assert len(subset.classes) == 100 and subset.clips[1].parts == listing.clips[1].parts
    assert subset.warnings[0].startswith('all: the annotation lists 3 clips, 2,038 are published')
    (tmp_path / 'WLASL_v0.3.json').unlink()
    alone = wlasl.read_listing(tmp_path, 'nslt_100')  # no addresses: by video_id alone
    assert [clip.parts for clip in alone.clips] == [(Part('69241'),), (Part('65225'),), (Part('68011'),)]


@pytest.mark.parametrize(
    ('old', 'new', 'version', 'told'),
    [
        ('"split": "val"', '"split": "dev"', 'v0.3', "video_id '65225' and split 'dev'"),
        ('"video_id": "65225"', '"video_id": "69241"', 'v0.3', "video_id '69241' of 'book' stands on line 2"),
        ('"frame_start": 5', '"frame_start": 0', 'v0.3', "'65225' reaches from frame 0 to 12"),
        ('"frame_end": 30', '"frame_end": 7', 'v0.3', "'68011' reaches from frame 21 to 7"),
        ('"gloss": "drink"', '"gloss": "book"', 'v0.3', "the gloss 'book' stands on line 2 already"),
        ('"instances"', '"samples"', 'v0.3', 'an entry without gloss and instances'),
        ('[1, 21, 30]', '[100, 21, 30]', 'nslt_100', r"label of '68011' is 100, outside 0\.\.99"),
        ('[1, 21, 30]', '[-1, 21, 30]', 'nslt_100', r"label of '68011' is -1, outside 0\.\.99"),
        ('[1, 21, 30]', '[1]', 'nslt_100', r"'68011' is .*; expected subset and action"),
        ('1\tdrink', '3\tdrink', 'nslt_100', 'is not "1", a tab and a gloss'),
    ],
)
def test_lists_of_wlasl_that_mismatch_are_refused(tmp_path, old, new, version, told):
    for name, text in WLASL.items():
        (tmp_path / name).write_text(text.replace(old, new))
    with pytest.raises(AnnotationError, match=told):
        wlasl.read_listing(tmp_path, version)


def test_a_subset_of_wlasl_without_names_is_told(tmp_path):
    written(tmp_path, WLASL)
    (tmp_path / 'wlasl_class_list.txt').unlink()
    with pytest.raises(
        AnnotationError, match='nslt_100 is of 100 glosses, 2 names are there; put wlasl_class'
    ):
        wlasl.read_listing(tmp_path, 'nslt_100')


# ---------------------------------------------------------------------------------------------- EPIC-KITCHENS


def test_epic_kitchens(tmp_path):
    written(tmp_path, EPIC)
    by_verb, by_noun, by_both = (
        epic_kitchens.read_listing(tmp_path, label) for label in epic_kitchens.LABELS
    )
    assert by_verb.classes == ('take', 'open') and by_noun.classes == ('door', 'plate', 'cup')
    assert [(clip.split, clip.id, clip.label) for clip in by_verb.clips] == [
        ('train', 'P01_01_0', 1),
        ('train', 'P01_01_1', 0),
        ('train', 'P01_09_0', 0),
        ('val', 'P02_03_0', 0),
        ('val', 'P02_03_1', 1),
        ('test', 'P01_11_0', None),
    ]
    assert [clip.label for clip in by_noun.clips] == [0, 1, 2, 1, 1, None]
    assert by_verb.clips[1].parts == (Part('P01_01', 0.8, 1.2, 20, 31),)
    assert by_both.classes == ('take plate', 'take cup', 'open door')
    assert [clip.label for clip in by_both.clips] == [2, 0, 1, 0, None]  # nobody trains to open a plate
    assert by_both.warnings[-1].startswith(
        '1 validation clips have a verb and noun that no training clip has'
    )


@pytest.mark.parametrize(
    ('old', 'new', 'told'),
    [
        ('open,1,door', 'open,2,door', r"train.csv:2: verb_class of 'P01_01_0' is '2', outside 0\.\.1"),
        ('open,1,door', 'open,-1,door', r"verb_class of 'P01_01_0' is '-1', outside"),
        ('00:00:00.60', '00:00:00.10', "train.csv:2: 'P01_01_0' reaches from 00:00:00.20 to 00:00:00.10"),
        ('00:00:00.60', '0.60', "train.csv:2: stop_timestamp is '0.60', expected hours:minutes:seconds"),
        (',6,16,', ',16,6,', "'P01_01_0' reaches from .* frames 16 to 6"),
        ('P01_01_1,P01', 'P01_01_0,P01', "train.csv:3: narration_id 'P01_01_0' stands on line 2 already"),
        ('P01_01_1,P01', '../x,P01', "train.csv:3: narration_id is '../x'"),
        ('start_frame', 'first_frame', 'without start_frame'),
        ('"[1, 2]"', '[1, 2]', 'the row has 16 fields, the header 15'),
        ('1,open,', '2,open,', 'verb_classes.csv:3: .* is not class 1'),
    ],
)
def test_lists_of_epic_kitchens_that_mismatch_are_refused(tmp_path, old, new, told):
    for name, text in EPIC.items():
        (tmp_path / name).write_text(text.replace(old, new))
    with pytest.raises(AnnotationError, match=told):
        epic_kitchens.read_listing(tmp_path, 'verb')


# ----------------------------------------------------------------------------------------------- Hugging Face


@pytest.mark.parametrize(
    ('files', 'told'),
    [
        ({}, 'holds no metadata.csv or metadata.jsonl'),
        ({'metadata.csv': '', 'metadata.jsonl': ''}, 'holds metadata.csv and metadata.jsonl; keep the one'),
        ({'metadata.csv': 'file_name,text\na.mp4,run\n'}, 'metadata.csv:1: .* without label'),
        ({'metadata.csv': 'file_name,label\na.mp4,run\n'}, 'metadata.csv:2: a.mp4 has no split; put it in'),
        ({'metadata.csv': 'file_name,label,split\na.mp4,run,dev\n'}, "a.mp4 has the split 'dev'"),
        ({'metadata.csv': 'file_name,label\ntrain/a.mp4,\n'}, "train/a.mp4 in split 'train' has no label"),
        ({'metadata.csv': 'file_name,label\ntrain/../../a.mp4,x\n'}, "file_name is 'train/../../a.mp4'"),
        ({'metadata.csv': 'file_name,label\ntrain/a.mp4,x,y\n'}, 'the row has 3 fields, the header 2'),
        ({'metadata.csv': 'file_name,label\n'}, 'lists no clip'),
        ({'metadata.jsonl': '{"file_name": "train/a.mp4"}\n'}, 'jsonl:1: .* is no object with file_name'),
        (
            {'metadata.jsonl': '{"file_name": "train/a.mp4", "label": [1]}\n'},
            r'label is \[1\]; give one text',
        ),
        ({'metadata.jsonl': '{"file_name"\n'}, 'jsonl:1: not JSON'),
        (
            {'metadata.csv': 'file_name,label\ntrain/a.mp4,x\ntrain/a.mp4,x\n'},
            "csv:3: 'train/a.mp4' stands on line 2",
        ),
    ],
)
def test_metadata_that_mismatch_are_refused(tmp_path, files, told):
    with pytest.raises(AnnotationError, match=told):
        folder.read_listing(written(tmp_path, files), 'huggingface')


def test_metadata_with_numbers_and_one_split(tmp_path):
    written(
        tmp_path, {'metadata.jsonl': '{"file_name": "a.mp4", "label": 1}\n{"file_name": "b.mp4", "label": 0}'}
    )
    listing = folder.read_listing(tmp_path, 'huggingface', split='train')
    assert triples(listing) == [('train', 'a.mp4', '1'), ('train', 'b.mp4', '0')]
    assert listing.label_order == 'numbers'
