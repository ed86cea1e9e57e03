"""From the lists of public sets to a prepared dataset and a first step of training."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import replace

import cv2
import pytest
from published_lists import DIVING48, EPIC, HMDB51, UCF101, WLASL, first_step, written

from data_prep import diving48, epic_kitchens, folder, hmdb51, ucf101, wlasl
from data_prep.common import cutting
from data_prep.common.records import read_lines
from gfvideo.data.manifest import read_manifest, read_rows
from gfvideo.data.readers import open_video

QUICK = '--workers', '1', '--max-failed', '1', '--steps', 'unpack,index,verify,transcode,lists'


def splits_of(out) -> dict[str, list[tuple[str, str]]]:
    manifest = read_manifest(out)
    return {
        split: [(row.id, manifest.classes[row.label]) for row in read_rows(manifest, split)]
        for split in manifest.splits
    }


def failed(out) -> dict[str, str]:
    return {record['id']: record['reason'] for record in read_lines(out / 'failed.jsonl')}


def prepared(script, tmp_path, videos, lists, *flags) -> int:
    return script.main(
        [
            *('--videos', str(videos), '--annotations', str(lists), '--out', str(tmp_path / 'out')),
            *QUICK,
            *flags,
        ]
    )


def test_ucf101_trains(here, tmp_path, clip, lay, caplog):
    caplog.set_level(logging.INFO, logger='data_prep')
    listed = [
        line.split()[0]
        for name in ('trainlist01.txt', 'testlist01.txt')
        for line in UCF101[name].splitlines()
    ]
    lost = 'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi'
    videos = lay(
        tmp_path / 'UCF-101', {path: clip(6, '.avi', codec='mpeg4') for path in listed if path != lost}
    )
    lists = written(tmp_path / 'ucfTrainTestlist', UCF101)
    assert prepared(ucf101, tmp_path, videos, lists, '--official-split', '1') == 0
    found = splits_of(tmp_path / 'out')
    assert {split: len(rows) for split, rows in found.items()} == {'train': 3, 'val': 3}
    assert all(name.startswith(label) for rows in found.values() for name, label in rows)
    assert failed(tmp_path / 'out') == {lost: 'missing'}
    assert '1 missing' in caplog.text and f'e.g. {lost}' in caplog.text
    assert read_manifest(tmp_path / 'out').version == 'split 1'
    assert math.isfinite(first_step('ucf101', tmp_path / 'out'))


def test_the_number_of_a_split_is_checked(tmp_path, capsys):
    for script in (ucf101, hmdb51):
        with pytest.raises(SystemExit):
            prepared(script, tmp_path, tmp_path, tmp_path, '--official-split', '4')
        assert 'invalid choice: 4 (choose from 1, 2, 3)' in capsys.readouterr().err
        with pytest.raises(SystemExit):
            script.main(['--videos', str(tmp_path), '--out', str(tmp_path / 'out')])
        assert '--annotations is needed' in capsys.readouterr().err


def test_hmdb51_trains(here, tmp_path, clip, lay):
    names = {
        'brush_hair': ('April_09_brush_hair_u_nm_np1_ba_goo_0', 'April_09_brush_hair_u_nm_np1_ba_goo_1'),
        'ride_bike': ('#122_Lance_ride_bike_f_cm_np1_ri_med_0', 'On_the_way_ride_bike_f_cm_np1_ri_med_1'),
    }
    videos = lay(
        tmp_path / 'hmdb51_org',
        {
            f'{label}/{name}.avi': clip(7, '.avi', codec='mpeg4')
            for label, some in names.items()
            for name in some
        },
    )
    lists = written(tmp_path / 'testTrainMulti_7030_splits', HMDB51)
    assert prepared(hmdb51, tmp_path, videos, lists) == 0
    assert splits_of(tmp_path / 'out') == {
        split: [(f'{label}/{some[place]}.avi', label) for label, some in names.items()]
        for place, split in enumerate(('train', 'val'))
    }
    assert math.isfinite(first_step('hmdb51', tmp_path / 'out'))


def test_diving48_trains(here, tmp_path, clip, lay):
    names = '-mm0_0ABCde_00155', '_8V0_0ABCde_00000', '2x00_0ABCde_00001'
    videos = lay(tmp_path / 'rgb', {f'{name}.mp4': clip(8) for name in names})
    lists = written(tmp_path / 'lists', DIVING48)
    assert prepared(diving48, tmp_path, videos, lists) == 0
    assert splits_of(tmp_path / 'out') == {
        'train': [(names[0], 'Back 15som 05Twis FREE'), (names[1], 'Back Dive NoTwis PIKE')],
        'val': [(names[2], 'Back Dive NoTwis PIKE')],
    }
    assert math.isfinite(first_step('diving48', tmp_path / 'out'))


# ----------------------------------------------------------------------------- clips that are parts of videos


def numbers_of(clip, out, name) -> list[int]:
    """The numbers that the frames of a cut clip say."""
    with open_video(out / 'clips' / f'{name}.mp4') as video:
        return [clip.read_number(frame) for frame in video.iter_frames()]


def test_wlasl_trains(here, tmp_path, clip, lay, caplog):
    caplog.set_level(logging.INFO, logger='data_prep')
    videos = lay(tmp_path / 'raw', {'69241.mp4': clip(9), '0AbCd_ex0m1.mp4': clip(40)})
    lists = written(tmp_path / 'lists', WLASL)
    out = tmp_path / 'out'
    assert prepared(wlasl, tmp_path, videos, lists) == 0
    assert splits_of(out) == {
        'train': [('69241', 'book'), ('68011', 'drink')],
        'val': [('65225', 'book')],
    }
    # frames are counted from 1, and the last is in it
    assert numbers_of(clip, out, '69241') == list(range(9))
    assert numbers_of(clip, out, '65225') == list(range(4, 12))
    assert numbers_of(clip, out, '68011') == list(range(20, 30))
    assert failed(out) == {'68208': 'missing'}
    assert '1 of 4 clips have no source' in caplog.text and '68208' in caplog.text
    assert math.isfinite(first_step('wlasl', out))


def test_a_part_beyond_the_end_of_its_video_is_named(here, tmp_path, clip, lay):
    videos = lay(tmp_path / 'raw', {'69241.mp4': clip(9), '0AbCd_ex0m1.mp4': clip(25)})
    lists = written(tmp_path / 'lists', WLASL)
    assert prepared(wlasl, tmp_path, videos, lists, '--version', 'nslt_100') == 0
    assert splits_of(tmp_path / 'out') == {'train': [('69241', 'book')], 'val': [('65225', 'book')]}
    [record] = read_lines(tmp_path / 'out' / 'failed.jsonl')
    assert (record['id'], record['reason']) == ('68011', 'truncated')
    assert '5 of 10 frames are there: 0AbCd_ex0m1.mp4 ends before' in record['detail']


def test_epic_kitchens_trains(here, tmp_path, clip, lay, caplog):
    caplog.set_level(logging.INFO, logger='data_prep')
    videos = lay(
        tmp_path / 'EPIC',
        {'P01/videos/P01_01.MP4': clip(40), 'P02/videos/P02_03.MP4': clip(30), 'P01/x.txt': b''},
    )
    lists = written(tmp_path / 'lists', EPIC)
    out = tmp_path / 'out'
    assert prepared(epic_kitchens, tmp_path, videos, lists) == 0
    assert splits_of(out) == {
        'train': [('P01_01_0', 'open'), ('P01_01_1', 'take')],
        'val': [('P02_03_0', 'take'), ('P02_03_1', 'open')],
    }
    # 25 frames a second: seconds 0.2 to 0.6, 0.8 to 1.2, 0.04 to 0.4
    assert numbers_of(clip, out, 'P01_01_0') == list(range(5, 15))
    assert numbers_of(clip, out, 'P01_01_1') == list(range(20, 30))
    assert numbers_of(clip, out, 'P02_03_0') == list(range(1, 10))
    assert failed(out) == {'P01_09_0': 'missing', 'P01_11_0': 'missing'}
    assert '2 of 6 clips have no source' in caplog.text and 'P01_09, P01_11' in caplog.text
    assert math.isfinite(first_step('epic_kitchens_verb', out))
    before = (out / 'clips' / 'P01_01_0.mp4').stat().st_mtime_ns
    caplog.clear()
    assert prepared(epic_kitchens, tmp_path, videos, lists) == 0
    assert 'cutting 4 clips' in caplog.text and '4 are cut already' in caplog.text
    assert (out / 'clips' / 'P01_01_0.mp4').stat().st_mtime_ns == before
    made = read_manifest(out)
    assert made.preparation['ffmpeg'] and made.preparation['arguments']['to'] == 'video'
    assert prepared(epic_kitchens, tmp_path, videos, lists, '--crf', '30') == 0
    again = read_manifest(out)  # the same clips, encoded in another way
    assert (again.content_hash, again.made_hash != made.made_hash) == (made.content_hash, True)


def test_what_is_cut_is_kept_by_another_ffmpeg_and_found_damaged(
    here, tmp_path, clip, lay, caplog, monkeypatch
):
    videos = lay(tmp_path / 'EPIC', {'P01/P01_01.MP4': clip(40), 'P02/P02_03.MP4': clip(30)})
    lists = written(tmp_path / 'lists', EPIC)
    out = tmp_path / 'out'
    assert prepared(epic_kitchens, tmp_path, videos, lists) == 0
    before = {path: path.read_bytes() for path in (out / 'clips').iterdir()}
    first = cutting.find_ffmpeg()
    with monkeypatch.context() as patch:
        patch.setattr(cutting, 'find_ffmpeg', lambda *wanted: replace(first, version='n4.2-other'))
        patch.setattr(cutting, 'run_child', None)
        os.utime(videos / 'P01/P01_01.MP4', (1, 1))
        assert prepared(epic_kitchens, tmp_path, videos, lists) == 0
        assert read_manifest(out).made['ffmpeg'] == first.version
        for words in (
            f'cut: 4 clips that ffmpeg {first.version} made, where this is n4.2-other, are kept',
            'cut: 2 clips whose sources have new times',
        ):
            assert words in caplog.text
        assert prepared(epic_kitchens, tmp_path, videos, lists, '--limit', '1') == 0
        assert prepared(epic_kitchens, tmp_path, videos, lists) == 0
    hurt = sorted(before)[0]
    hurt.write_bytes(before[hurt][:-30] + bytes(30))
    assert epic_kitchens.main(['--out', str(out), '--recheck', '--workers', '1']) == 4
    assert prepared(epic_kitchens, tmp_path, videos, lists, '--redo') == 0
    assert {path: path.read_bytes() for path in (out / 'clips').iterdir()} == before


def test_clips_of_epic_kitchens_are_cut_out_of_frames_too(here, tmp_path, clip):
    folder = tmp_path / 'EPIC' / 'P01' / 'rgb_frames' / 'P01_01'
    folder.mkdir(parents=True)
    for number in range(40):
        picture = cv2.cvtColor(clip.frame(number), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f'frame_{number + 1:010d}.jpg'), picture)
    lists = written(tmp_path / 'lists', EPIC)
    out = tmp_path / 'out'
    assert prepared(epic_kitchens, tmp_path, tmp_path / 'EPIC', lists, '--label', 'noun') == 0
    assert splits_of(out) == {'train': [('P01_01_0', 'door'), ('P01_01_1', 'plate')]}
    assert numbers_of(clip, out, 'P01_01_0') == list(range(5, 16))  # frames 6 to 16, counted from 1
    assert math.isfinite(first_step('epic_kitchens_noun', out))


def test_cut_clips_are_videos(tmp_path, capsys):
    for script, lists in ((wlasl, WLASL), (epic_kitchens, EPIC)):
        with pytest.raises(SystemExit):
            prepared(script, tmp_path, tmp_path, written(tmp_path / 'lists', lists), '--to', 'original')
        assert '--to original: clips are cut out of longer videos' in capsys.readouterr().err


def test_shares_of_cut_clips_are_put_together(here, tmp_path, clip, lay):
    videos = lay(tmp_path / 'EPIC', {'P01_01.MP4': clip(40), 'P02_03.MP4': clip(30)})
    lists = written(tmp_path / 'lists', EPIC)
    for share in ('0/2', '1/2'):
        assert prepared(epic_kitchens, tmp_path, videos, lists, '--shard', share) == 0
        assert not (tmp_path / 'out' / 'dataset.json').exists()
    assert prepared(epic_kitchens, tmp_path, videos, lists, '--shard', '0/1') == 0
    assert {split: len(rows) for split, rows in splits_of(tmp_path / 'out').items()} == {'train': 2, 'val': 2}


# ------------------------------------------------------------------------------------- folders of one's own


def test_folders_of_hugging_face_train(here, tmp_path, clip, lay):
    videos = lay(
        tmp_path / 'set',
        {
            'train/metadata.csv': b'file_name,label,duration\n1.mp4,run,0.2\nmore/2.mp4,"sit, down",0.2\n',
            'train/1.mp4': clip(5),
            'train/more/2.mp4': clip(6),
            'test/metadata.jsonl': (
                b'{"file_name": "3.mp4", "label": "run"}\n\n{"file_name": "4.mp4", "label": "run"}'
            ),
            'test/3.mp4': clip(7),
            'metadata.csv': b'label,file_name,split\nrun,5.mp4,validation\n',
            '5.mp4': clip(8),
        },
    )
    assert prepared(folder, tmp_path, videos, videos, '--form', 'huggingface') == 0
    assert splits_of(tmp_path / 'out') == {
        'train': [('train/1.mp4', 'run'), ('train/more/2.mp4', 'sit, down')],
        'val': [('5.mp4', 'run')],
        'test': [('test/3.mp4', 'run')],
    }
    assert failed(tmp_path / 'out') == {'test/4.mp4': 'missing'}
    assert math.isfinite(first_step('custom', tmp_path / 'out'))


def test_clips_of_washed_hands_in_class_folders_train(here, tmp_path, clip, lay):
    """Class folders without splits; the clips of one wash, whose number is in their names, stay together."""
    videos = lay(
        tmp_path / 'HandWashDataset',
        {
            f'{step}/HandWash_{wash:03d}_A_{number:02d}_G01.mp4': clip(6)
            for number, step in enumerate(('Step_1', 'Step_2_Left', 'Step_2_Right'), 1)
            for wash in range(1, 6)
        },
    )
    flags = '--val-share', '0.2', '--group', r'HandWash_(\d+)_'
    given = ['--videos', str(videos), '--out', str(tmp_path / 'out'), *QUICK, *flags]
    assert folder.main(given) == 0
    found = splits_of(tmp_path / 'out')
    assert {split: len(rows) for split, rows in found.items()} == {'train': 12, 'val': 3}
    washes = {split: {name.split('_')[-4] for name, _ in rows} for split, rows in found.items()}
    assert len(washes['val']) == 1 and not washes['train'] & washes['val']
    assert math.isfinite(first_step('custom', tmp_path / 'out'))


def test_cut_clips_stay_when_their_source_goes(here, tmp_path, clip, lay):
    videos = lay(tmp_path / 'EPIC', {'P01_01.MP4': clip(40), 'P02_03.MP4': clip(30)})
    lists = written(tmp_path / 'lists', EPIC)
    assert prepared(epic_kitchens, tmp_path, videos, lists) == 0
    whole = splits_of(tmp_path / 'out')
    (videos / 'P01_01.MP4').unlink()
    assert prepared(epic_kitchens, tmp_path, videos, lists) == 0
    assert splits_of(tmp_path / 'out') == whole
    # but not what is listed in another way by now
    moved = EPIC['EPIC_100_train.csv'].replace('00:00:00.60', '00:00:00.64')
    written(tmp_path / 'lists', EPIC, EPIC_100_train=moved)
    assert prepared(epic_kitchens, tmp_path, videos, lists) == 0
    assert splits_of(tmp_path / 'out')['train'] == [('P01_01_1', 'take')]
    assert failed(tmp_path / 'out')['P01_01_0'] == 'missing'
