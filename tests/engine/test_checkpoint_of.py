import os

import pytest

from gfvideo.engine import CheckpointError, checkpoint_of


def stage(folder, files, last=None, began=None, at=1000):
    """A stage's folder with (empty) checkpoints, which were saved one second after the other."""
    folder.mkdir(parents=True)
    for number, name in enumerate(files):
        (folder / name).touch()
        os.utime(folder / name, (at + number, at + number))
    if last:
        (folder / 'last_checkpoint').write_text(str(folder / last))
    if began:
        (folder / began).mkdir()
    return folder


def test_files_and_addresses_stand_for_themselves(tmp_path):
    (tmp_path / 'model.pth').touch()
    assert checkpoint_of(tmp_path / 'model.pth') == str(tmp_path / 'model.pth')
    assert checkpoint_of('https://example.com/model.pth') == 'https://example.com/model.pth'


def test_of_a_run_the_last_stage_and_of_a_stage_its_last_checkpoint(tmp_path):
    run = tmp_path / 'run'
    stage(run / 'joint', ['epoch_1.pth', 'epoch_2.pth'], 'epoch_2.pth', '20260101_120000', at=9000)
    stage(
        run / 'tune',
        ['best_top1_epoch_1.pth', 'epoch_1.pth', 'epoch_2.pth'],
        'epoch_1.pth',
        '20260101_130000',
    )
    assert checkpoint_of(run) == str(
        run / 'tune' / 'epoch_1.pth'
    )  # though a copy made the other's files newer
    assert checkpoint_of(run, 'best') == str(run / 'tune' / 'best_top1_epoch_1.pth')
    assert checkpoint_of(run / 'joint') == str(run / 'joint' / 'epoch_2.pth')
    assert checkpoint_of(run / 'joint', 'best') == str(run / 'joint' / 'epoch_2.pth')  # it kept none


def test_of_a_run_without_stages(tmp_path):
    run = stage(tmp_path / 'run', ['epoch_1.pth', 'epoch_2.pth'], 'epoch_2.pth', '20260101_120000')
    assert checkpoint_of(run) == str(run / 'epoch_2.pth')
    (run / 'last_checkpoint').unlink()  # or a folder of files alone
    assert checkpoint_of(run) == str(run / 'epoch_2.pth')


def test_what_holds_no_checkpoint_is_named(tmp_path):
    (tmp_path / 'run' / 'joint').mkdir(parents=True)
    with pytest.raises(CheckpointError, match='run holds no checkpoint of a run.*work dir of tools/train.py'):
        checkpoint_of(tmp_path / 'run')
    with pytest.raises(FileNotFoundError, match='no checkpoint at .*nowhere.pth'):
        checkpoint_of(tmp_path / 'nowhere.pth')
    with pytest.raises(ValueError, match="which='first' is unknown"):
        checkpoint_of(tmp_path / 'run', 'first')
