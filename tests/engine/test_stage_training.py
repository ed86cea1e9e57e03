"""Three stages trained: what changes in each, what a checkpoint holds, and cut runs that end as the uncut
one."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from toy_clips import CutOff

from gfvideo.engine import latest_checkpoint, load_checkpoint
from gfvideo.engine.stages import read_record

STAGES = ('random', 'policy', 'tune')


def weights(file) -> dict[str, torch.Tensor]:
    return load_checkpoint(file)['state_dict']


def changed(before: dict, after: dict) -> set[str]:
    """Parts of which some tensor, parameter or buffer, differs."""
    assert before.keys() == after.keys()
    return {key.split('.')[0] for key in before if not torch.equal(before[key], after[key])}


def assert_same(before: dict, after: dict) -> None:
    assert before.keys() == after.keys()
    for key in before:
        assert torch.equal(before[key], after[key]), key


def follow(uncut, work_dir, stage: str) -> None:
    """Give ``work_dir`` the finished stage before ``stage``."""
    before = STAGES.index(stage) - 1
    if before >= 0:
        shutil.copytree(uncut / STAGES[before], work_dir / STAGES[before])


def test_each_stage_starts_from_the_one_before_and_changes_its_parts_alone(uncut):
    files = {stage: uncut / stage / read_record(uncut / stage).checkpoint for stage in STAGES}
    assert [file.name for file in files.values()] == ['epoch_2.pth'] * 3
    assert changed(weights(files['random']), weights(files['policy'])) == {'policy'}
    assert changed(weights(files['policy']), weights(files['tune'])) == {
        'glance_encoder',
        'focus_encoder',
        'classifier',
        'glance_head',
        'focus_head',
    }


def test_a_checkpoint_is_tensors_and_plain_values(uncut):
    file = uncut / 'policy' / 'epoch_2.pth'
    content = torch.load(file, weights_only=True)
    assert set(content) >= {'state_dict', 'meta', 'message_hub', 'optimizer', 'param_schedulers'}
    meta = content['meta']
    assert meta['stage'] == 'policy' and meta['epoch'] == 2 and meta['iter'] == 8 and meta['seed'] == 0
    assert meta['dataset_meta']['classes'] == ['red', 'green', 'blue']
    assert meta['datasets'] == {
        'train': dict(name='squares', manifest_hash='abc123', present=8, official=10),
        'val': dict(name='squares', manifest_hash='abc123', present=3, official=10),
    }
    assert 'GlanceFocusRecognizer' in meta['cfg'] and 'PolicyLoop' in meta['cfg']
    kl = content['message_hub']['log_scalars']['train/approx_kl']['history_buffer']
    # the policy moved away from the one that drew
    assert kl['values'].shape == (8,) and kl['values'].max() > 0
    assert not list(uncut.rglob('*.tmp'))


def test_last_and_best_have_a_name_that_every_run_has(uncut):
    for stage in STAGES:
        record = read_record(uncut / stage)
        best = record.checkpoint if record.best is None else record.best
        assert (uncut / stage / 'last.pth').samefile(uncut / stage / record.checkpoint)
        assert (uncut / stage / 'best.pth').samefile(uncut / stage / best)
    for name in ('last.pth', 'best.pth'):
        assert (uncut / name).samefile(uncut / 'tune' / name)


def test_the_policy_stage_logs_its_diagnostics(uncut):
    logs = [
        json.loads(line)
        for file in (uncut / 'policy').glob('*/vis_data/scalars.json')
        for line in file.read_text().splitlines()
    ]
    names = {
        'reward_step1',
        'reward_step2',
        'approx_kl',
        'clip_fraction',
        'entropy',
        'explained_variance',
        'loss_policy',
        'updates',
    }
    assert names <= set(logs[0]) and logs[0]['updates'] == 4  # 2 passes of 1 clip each over a batch of 2
    assert logs[0]['entropy'] > logs[-2]['entropy']  # the exploration shrinks over the stage


@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.parametrize(
    'cut, options',
    [(6, []), (7, ['default_hooks.checkpoint.by_epoch=False', 'default_hooks.checkpoint.interval=3'])],
    ids=['between_epochs', 'in_mid_epoch'],
)
def test_a_resumed_stage_ends_as_the_uncut_one(uncut, train, tmp_path, stage, cut, options):
    follow(uncut, tmp_path, stage)
    with pytest.raises(CutOff):
        train(
            tmp_path,
            '--stage',
            stage,
            *options,
            'default_hooks.cut.type=CutAt',
            f'default_hooks.cut.iteration={cut}',
        )
    assert latest_checkpoint(tmp_path / stage).name == ('iter_6.pth' if options else 'epoch_1.pth')
    train(tmp_path, '--stage', stage, '--resume', *options)
    resumed = load_checkpoint(latest_checkpoint(tmp_path / stage))
    whole = load_checkpoint(uncut / stage / 'epoch_2.pth')
    assert_same(whole['state_dict'], resumed['state_dict'])
    for name, loss in whole['message_hub']['log_scalars'].items():  # and the same numbers on the way
        if name.startswith('train/') and 'time' not in name:
            after = resumed['message_hub']['log_scalars'][name]['history_buffer']['values']
            torch.testing.assert_close(after, loss['history_buffer']['values'], rtol=1e-4, atol=1e-5)


def test_resume_leaves_finished_stages_out_and_goes_on_to_the_end(uncut, train, tmp_path):
    shutil.copytree(uncut / 'random', tmp_path / 'random')
    written = (tmp_path / 'random' / 'epoch_2.pth').stat().st_mtime_ns
    with pytest.raises(CutOff):
        train(tmp_path, '--stage', 'policy', 'default_hooks.cut.type=CutAt', 'default_hooks.cut.iteration=5')
    train(tmp_path, '--resume')
    assert (tmp_path / 'random' / 'epoch_2.pth').stat().st_mtime_ns == written
    for stage in ('policy', 'tune'):
        assert_same(weights(uncut / stage / 'epoch_2.pth'), weights(tmp_path / stage / 'epoch_2.pth'))


def test_resume_from_a_named_checkpoint(uncut, train, tmp_path):
    follow(uncut, tmp_path, 'policy')
    train(tmp_path, '--stage', 'policy', '--resume', str(uncut / 'policy' / 'epoch_1.pth'))
    assert_same(weights(uncut / 'policy' / 'epoch_2.pth'), weights(tmp_path / 'policy' / 'epoch_2.pth'))
    with pytest.raises(SystemExit, match="saved in stage 'policy', not in stage 'tune'"):
        train(tmp_path, '--stage', 'tune', '--resume', str(uncut / 'policy' / 'epoch_1.pth'))
    best = uncut / 'policy' / read_record(uncut / 'policy').best
    with pytest.raises(
        SystemExit, match='holds weights but no state of a run; start from it with --cfg-options load_from='
    ):
        train(tmp_path, '--stage', 'policy', '--resume', str(best))


def test_nothing_is_left_to_do_after_a_finished_run(uncut, train, tmp_path):
    shutil.copytree(uncut, tmp_path / 'copy')
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / 'copy').rglob('*.pth')}
    train(tmp_path / 'copy', '--resume')
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / 'copy').rglob('*.pth')}


def test_a_run_of_listed_stages_goes_on_with_stages_by_name(uncut, train, tmp_path, three_stages):
    """And the other way round: records of finished stages hold the same settings."""
    listed = tmp_path / 'listed.py'
    listed.write_text(
        three_stages.read_text().replace('../../configs', str(three_stages.parents[2] / 'configs'))
        + 'stages = [dict(name=name, **overrides) for name, overrides in stages.items()]\n'
    )
    shutil.copytree(uncut, tmp_path / 'run')
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / 'run').rglob('*.pth')}
    train(tmp_path / 'run', '--resume', config=listed)
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / 'run').rglob('*.pth')}
    with pytest.raises(SystemExit, match="stage 'tune' was finished in .* with another optim_wrapper"):
        train(tmp_path / 'run', '--resume', 'stages.tune.optim_wrapper.optimizer.lr=0.5', config=listed)


def test_a_finished_stage_with_other_settings_is_not_resumed(uncut, train):
    with pytest.raises(SystemExit, match="stage 'random' was finished in .* with another model"):
        train(uncut, '--resume', 'model.dropout=0.5')


def test_a_stage_needs_something_to_start_from(train, uncut, tmp_path):
    with pytest.raises(
        SystemExit, match=r"stage 'tune' starts from stage 'policy', which is not finished .* load_from=PATH"
    ):
        train(tmp_path, '--stage', 'tune')
    train(tmp_path, '--stage', 'tune', f'load_from={uncut / "policy" / "epoch_2.pth"}')
    assert_same(weights(uncut / 'tune' / 'epoch_2.pth'), weights(tmp_path / 'tune' / 'epoch_2.pth'))


def test_a_new_run_does_not_take_what_an_old_one_left(uncut, train, tmp_path):
    shutil.copytree(uncut, tmp_path / 'copy')
    with pytest.raises(CutOff):
        train(tmp_path / 'copy', 'default_hooks.cut.type=CutAt', 'default_hooks.cut.iteration=0')
    for stage in STAGES:
        assert (
            read_record(tmp_path / 'copy' / stage) is None
            and latest_checkpoint(tmp_path / 'copy' / stage) is None
        )


def test_runs_of_one_second_leave_each_others_checkpoints_alone(train, tmp_path):
    """mmengine tells runs of a process apart by their name and the second they start in."""
    for number in range(6):
        train(tmp_path / str(number), '--stage', 'random', '--no-validate')
        assert {file.name for file in (tmp_path / str(number)).rglob('epoch_*.pth')} == {
            'epoch_1.pth',
            'epoch_2.pth',
        }


def test_start_from_best(uncut, train, tmp_path):
    shutil.copytree(uncut / 'random', tmp_path / 'random')
    best = tmp_path / 'random' / read_record(tmp_path / 'random').best
    train(
        tmp_path, '--stage', 'policy', 'stages.policy.start_from=best', 'stages.policy.train_cfg.max_epochs=1'
    )
    assert changed(weights(best), weights(tmp_path / 'policy' / 'epoch_1.pth')) == {'policy'}


def test_a_plain_config_trains_and_resumes_too(train, tmp_path, three_stages):
    config = tmp_path / 'plain.py'
    config.write_text(
        three_stages.read_text()
        .partition('stages =')[0]
        .replace('../../configs', str(three_stages.parents[2] / 'configs'))
        + "model['frozen'] = ('policy',)\n"
    )
    with pytest.raises(CutOff):
        train(
            tmp_path / 'work', 'default_hooks.cut.type=CutAt', 'default_hooks.cut.iteration=4', config=config
        )
    train(tmp_path / 'work', '--resume', config=config)
    assert (
        read_record(tmp_path / 'work').checkpoint == 'epoch_2.pth'
        and (tmp_path / 'work' / 'epoch_1.pth').is_file()
    )


def test_amp_no_validate_seed_and_auto_scale_lr(train, tmp_path):
    train(
        tmp_path,
        '--stage',
        'random',
        '--amp',
        '--no-validate',
        '--seed',
        '7',
        '--auto-scale-lr',
        'train_cfg.max_epochs=1',
        'train_dataloader.batch_size=4',
    )
    content = load_checkpoint(tmp_path / 'random' / 'epoch_1.pth')
    assert content['meta']['seed'] == 7 and 'AutocastOptimWrapper' in content['meta']['cfg']
    assert content['optimizer']['param_groups'][0]['initial_lr'] == pytest.approx(0.1)
    assert all(value.dtype in (torch.float32, torch.int64) for value in content['state_dict'].values())
    assert not list((tmp_path / 'random').glob('best_*'))


def test_the_policys_rate_does_not_follow_the_batch_size(train, three_stages, tmp_path):
    # meant for 2
    train(
        tmp_path,
        '--no-validate',
        '--auto-scale-lr',
        'train_cfg.max_epochs=1',
        'train_dataloader.batch_size=4',
    )
    rates = {
        stage: [
            group['initial_lr']
            for group in load_checkpoint(tmp_path / stage / 'epoch_1.pth')['optimizer']['param_groups']
        ]
        for stage in ('random', 'policy', 'tune')
    }
    assert rates == dict(random=[pytest.approx(0.1)], policy=[3e-3], tune=[pytest.approx(0.02)])
