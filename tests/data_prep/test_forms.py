"""From the lists of public sets to a prepared dataset and a first step of training."""

from __future__ import annotations

import logging
import math

import pytest
from published_lists import DIVING48, HMDB51, UCF101, first_step, written

from data_prep import diving48, hmdb51, ucf101
from data_prep.common.records import read_lines
from gfvideo.data.manifest import read_manifest, read_rows

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
