from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import folder, jester, kinetics, something_something
from data_prep.common import command, ffmpeg, preparing
from data_prep.common.archives import ArchiveError
from data_prep.common.command import run, shard_of_job
from data_prep.common.ffmpeg import Encoding, Ffmpeg, FfmpegError, find_ffmpeg
from data_prep.common.listing import AnnotationError
from data_prep.common.preparing import PreparationError
from data_prep.common.spreading import StopRun

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {
    'folder': folder,
    'jester': jester,
    'kinetics': kinetics,
    'something_something': something_something,
}


@pytest.fixture
def plan(monkeypatch, tmp_path):
    """``(*flags, script=folder) -> Preparation`` that the flags ask for."""
    plans = []
    monkeypatch.setattr(command, 'prepare', lambda plan: plans.append(plan) or 0.0)
    for name in [name for name in os.environ if name.startswith('SLURM_')]:
        monkeypatch.delenv(name)
    (tmp_path / 'v').mkdir()

    def make(*flags, script=folder):
        assert (
            script.main(['--videos', str(tmp_path / 'v'), '--out', str(tmp_path / 'out'), *map(str, flags)])
            == 0
        )
        return plans.pop()

    return make


@pytest.mark.parametrize('name', SCRIPTS)
def test_help_by_the_command_line(name):
    text = subprocess.run(
        [sys.executable, ROOT / 'data_prep' / f'{name}.py', '--help'],
        capture_output=True,
        text=True,
        check=True,
        timeout=1500,
        env={**os.environ, 'COLUMNS': '100'},
    ).stdout
    for flag in (
        '--videos',
        '--annotations',
        '--out',
        '--steps',
        '--to',
        '--shard',
        '--max-failed',
        '--dask',
    ):
        assert flag in text
    assert f'python data_prep/{name}.py' in text


def test_defaults(plan, tmp_path):
    made = plan()
    assert (made.annotation.name, made.annotation.version) == ('out', 'folders')
    assert (made.form.to, made.form.encoding, made.steps, made.space.shard) == (
        'video',
        Encoding(),
        preparing.STEPS,
        (0, 1),
    )
    assert made.spread.workers == len(os.sched_getaffinity(0))
    assert made.space.work == tmp_path / 'out/work'
    assert (made.source.largest_member, made.min_frames, made.time_limit) == (4 * 2**30, 1, 600)


def test_scripts_decide_what_is_written(plan, tmp_path):
    annotations = '--annotations', tmp_path
    assert plan(*annotations, script=something_something).form.to == 'video'
    assert plan(*annotations, '--version', 'v1', script=something_something).form.to == 'original'
    assert (
        plan(*annotations, '--version', 'v1', '--to', 'video', script=something_something).form.to == 'video'
    )
    assert plan(*annotations, script=jester).form.to == 'original'
    assert plan(*annotations, '--version', '600', script=kinetics).annotation.version == '600'


def test_flags(plan):
    made = plan(
        '--all-intra',
        '--crf',
        30,
        '--short-side',
        0,
        '--steps',
        'stats,verify, transcode',
        '--shard',
        '2/5',
        '--max-member',
        0.5,
    )
    assert made.form.encoding == Encoding(short_side=0, gop=1, crf=30)
    assert made.steps == ('verify', 'encode', 'stats')
    assert made.space.shard == (2, 5) and made.space.shard_name == '2-of-5'
    assert made.source.largest_member == 2**29
    assert plan('--steps', 'frames').steps == ('encode',)
    assert plan('--also', 'OGV, .gif,none').source.also == ('', '.gif', '.ogv')
    assert plan().source.also == ()


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (('--steps', 'unzip'), "'unzip' is no step; choose of unpack, index"),
        (('--shard', '2/2'), "'2/2': give I/N with I from 0 to N - 1"),
        (('--shard', '0'), 'give I/N'),
        (('--workers', 0), '--workers is 0; give 1 or more'),
        (('--min-frames', 0), '--min-frames is 0'),
        (('--time-limit', 0), '--time-limit is 0.0; give more than 0'),
        (('--max-failed', 1.5), '--max-failed is 1.5; give a share from 0 to 1'),
        (('--short-side', 255), 'give an even number of pixels'),
        (('--short-side', -2), '--short-side is -2'),
        (('--gop', 0), '--gop is 0'),
        (('--crf', 52), '--crf is 52'),
        (('--quality', 1), '--quality is 1'),
        (('--annotations', 'no/where', '--form', 'csv'), 'no/where is not there'),
        (('--also', '.gif,jpg'), "'jpg' is no suffix of videos"),
        (('--also', ''), "'' is no suffix of videos"),
        (('--annotations', '.'), '--annotations and --form go together'),
        (('--classes', 'x'), '--classes goes with --annotations'),
        (
            ('--annotations', '.', '--form', 'csv', '--split', 'train'),
            'the names of several lists tell their splits',
        ),
        (('--videos', 'no/where'), 'no/where is not there'),
    ],
)
def test_wrong_flags(plan, capsys, flags, message):
    with pytest.raises(SystemExit) as caught:
        plan(*flags)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('script', 'flags', 'message'),
    [
        (kinetics, ('--version', '400'), '--annotations is needed'),
        (kinetics, (), '--version'),
        (jester, (), '--annotations is needed'),
        (something_something, (), '--annotations is needed'),
        (
            kinetics,
            ('--version', '400', '--annotations', '.', '--kinetics', '.'),
            'goes with --version mini-s3d',
        ),
    ],
)
def test_wrong_flags_of_scripts(plan, capsys, script, flags, message):
    with pytest.raises(SystemExit) as caught:
        plan(*flags, script=script)
    assert caught.value.code == 2 and message in capsys.readouterr().err


def test_out_or_videos_of_the_wrong_kind(plan, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    for flags, message in (
        (('--out', tmp_path / 'file'), 'is a file; name a folder'),
        (('--videos', tmp_path / 'file'), 'is neither a folder nor an archive'),
    ):
        with pytest.raises(SystemExit):
            plan(*flags)
        assert message in capsys.readouterr().err


# ---- Slurm


@pytest.mark.parametrize(
    ('variables', 'expected'),
    [
        ({}, (0, 1)),
        ({'ID': 0, 'COUNT': 4, 'MIN': 0, 'MAX': 3}, (0, 4)),
        ({'ID': 3, 'COUNT': 4, 'MIN': 0, 'MAX': 3}, (3, 4)),
        ({'ID': 8, 'COUNT': 8, 'MIN': 1, 'MAX': 8}, (7, 8)),
        ({'ID': 20, 'COUNT': 3, 'MIN': 10, 'MAX': 20, 'STEP': 5}, (2, 3)),
        ({'ID': 2, 'MAX': 4}, (2, 5)),
    ],
)
def test_slurm(variables, expected):
    assert (
        shard_of_job({f'SLURM_ARRAY_TASK_{name}': str(value) for name, value in variables.items()})
        == expected
    )


@given(first=st.integers(0, 20), step=st.integers(1, 5), count=st.integers(1, 12))
def test_the_tasks_of_a_slurm_array_are_all_shards(first, step, count):
    tasks = range(first, first + step * count, step)
    found = [
        shard_of_job(
            {
                'SLURM_ARRAY_TASK_ID': str(task),
                'SLURM_ARRAY_TASK_MIN': str(tasks[0]),
                'SLURM_ARRAY_TASK_MAX': str(tasks[-1]),
                'SLURM_ARRAY_TASK_STEP': str(step),
                'SLURM_ARRAY_TASK_COUNT': str(count),
            }
        )
        for task in tasks
    ]
    assert found == [(number, count) for number in range(count)]


def test_slurm_array_with_gaps():
    with pytest.raises(
        PreparationError,
        match='SLURM_ARRAY_TASK_ID is 9, outside the array of 3 tasks from 0; give --shard I/N',
    ):
        shard_of_job(
            {
                'SLURM_ARRAY_TASK_ID': '9',
                'SLURM_ARRAY_TASK_MIN': '0',
                'SLURM_ARRAY_TASK_MAX': '9',
                'SLURM_ARRAY_TASK_COUNT': '3',
            }
        )


@pytest.mark.parametrize(
    ('variables', 'count', 'expected'),
    [
        # the script of a batch job has a rank, and is no task of srun
        ({'SLURM_PROCID': 0, 'SLURM_NTASKS': 8}, None, (0, 1)),
        ({'SLURM_PROCID': 3, 'SLURM_NTASKS': 8, 'SLURM_STEP_NUM_TASKS': 4}, None, (3, 4)),
        ({'SLURM_PROCID': 0, 'SLURM_STEP_NUM_TASKS': 1}, None, (0, 1)),
        (
            {
                'SLURM_PROCID': 1,
                'SLURM_STEP_NUM_TASKS': 2,
                'SLURM_ARRAY_TASK_ID': 3,
                'SLURM_ARRAY_TASK_MIN': 1,
                'SLURM_ARRAY_TASK_MAX': 4,
            },
            None,
            (5, 8),
        ),
        ({'PBS_ARRAY_INDEX': 0}, 8, (0, 8)),
        ({'PBS_ARRAY_INDEX': 8}, 8, (0, 8)),
        ({'PBS_ARRAYID': 3}, 8, (3, 8)),
        ({'SGE_TASK_ID': 'undefined'}, None, (0, 1)),
        (
            {'SGE_TASK_ID': 5, 'SGE_TASK_FIRST': 1, 'SGE_TASK_LAST': 8, 'SGE_TASK_STEPSIZE': 2},
            None,
            (2, 4),
        ),
    ],
)
def test_jobs_of_clusters(variables, count, expected):
    assert shard_of_job({name: str(value) for name, value in variables.items()}, count) == expected


@given(first=st.integers(0, 1), count=st.integers(1, 12))
def test_the_tasks_of_a_pbs_array_are_all_shards(first, count):
    found = [shard_of_job({'PBS_ARRAY_INDEX': str(first + i)}, count) for i in range(count)]
    assert sorted(found) == [(number, count) for number in range(count)]


@pytest.mark.parametrize(
    ('variables', 'count', 'message'),
    [
        ({'PBS_ARRAY_INDEX': '2'}, None, 'PBS_ARRAY_INDEX is 2, and nothing tells how many'),
        ({}, 8, '--shard 8 says how many shares there are, and no variable'),
        ({'SLURM_ARRAY_TASK_ID': '0', 'SLURM_ARRAY_TASK_COUNT': '4'}, 8, 'the job has 4 x 1 tasks'),
        ({'SLURM_PROCID': '4', 'SLURM_STEP_NUM_TASKS': '4'}, None, 'SLURM_PROCID is 4, outside the 4'),
    ],
)
def test_jobs_that_do_not_tell_the_share(variables, count, message):
    with pytest.raises(PreparationError, match=message):
        shard_of_job(variables, count)


def test_slurm_and_the_flag(plan, monkeypatch):
    for name, value in {'ID': '1', 'COUNT': '4', 'MIN': '0'}.items():
        monkeypatch.setenv(f'SLURM_ARRAY_TASK_{name}', value)
    assert plan().space.shard == (1, 4)
    assert plan('--shard', '0/1').space.shard == (0, 1)


# ---- how it ends


@pytest.mark.parametrize(
    ('error', 'status', 'words'),
    [
        (PreparationError('no file'), 1, 'error: no file'),
        (AnnotationError('f:1: x'), 1, 'error: f:1: x'),
        (ArchiveError('cut'), 1, 'error: cut'),
        (FfmpegError('none'), 1, 'error: none'),
        (StopRun('full'), 1, 'error: full'),
        (
            KeyboardInterrupt(),
            130,
            'interrupted by SIGINT; what is done is kept: run the same command again to go on',
        ),
        (
            OSError(errno.ENOSPC, 'No space left on device', 'x'),
            1,
            'make room and run the same command again',
        ),
        (PermissionError(13, 'Permission denied', 'x'), 1, "denied: 'x'"),
    ],
)
def test_errors_are_one_line(caplog, error, status, words):
    def main(argv):
        raise error

    assert run(main, []) == status
    assert (
        words in caplog.records[-1].message
        and '\n' not in caplog.records[-1].message
        and caplog.records[-1].exc_info is None
    )


def test_faults_of_the_program_are_not_hidden():
    def main(argv):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main, [])


# ---- ffmpeg


@pytest.fixture
def program(tmp_path):
    """A program that answers -version and -encoders."""

    def make(version, encoders='libx264', name='ffmpeg'):
        file = tmp_path / name
        file.write_text(f'#!/bin/sh\ncase $1 in -version) echo "{version}";; *) echo "{encoders}";; esac\n')
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        return str(file)

    return make


def test_an_ffmpeg_of_ones_own(program, monkeypatch, tmp_path):
    path = program('ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright (c)')
    assert find_ffmpeg(path) == Ffmpeg(path, '4.4.2-0ubuntu0.22.04.1')
    monkeypatch.setenv('PATH', str(tmp_path))
    find_ffmpeg.cache_clear()
    assert find_ffmpeg() == find_ffmpeg('ffmpeg') == Ffmpeg(path, '4.4.2-0ubuntu0.22.04.1')
    find_ffmpeg.cache_clear()


@pytest.mark.parametrize(
    ('answers', 'message'),
    [
        (('avconv version 9',), "is not ffmpeg: it answers -version with 'avconv version 9"),
        (('ffmpeg version 7.1 x', 'mpeg4'), 'without the encoder libx264'),
    ],
)
def test_a_wrong_ffmpeg(program, answers, message):
    with pytest.raises(FfmpegError, match=message):
        find_ffmpeg(program(*answers, name=f'ffmpeg{len(answers)}'))


@pytest.fixture
def on_path(monkeypatch, tmp_path):
    """Makes the folder of ``program`` all of PATH, and what imageio-ffmpeg carries another program."""

    def make(carried):
        monkeypatch.setenv('PATH', str(tmp_path))
        module = types.ModuleType('imageio_ffmpeg')
        module.get_ffmpeg_exe = lambda: carried
        monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', module)

    find_ffmpeg.cache_clear()
    yield make
    find_ffmpeg.cache_clear()


@pytest.mark.parametrize(
    ('answers', 'message'),
    [
        (('ffmpeg version 3.4.11-0ubuntu0.1 x',), 'has version 3.4.11-0ubuntu0.1, older than 4.0'),
        (('ffmpeg version 7.1 x', 'mpeg4'), 'without the encoder libx264'),
        (('something else',), 'is not ffmpeg'),
    ],
)
def test_one_on_path_that_cannot_be_used(program, on_path, caplog, answers, message):
    path = program(*answers)
    with pytest.raises(FfmpegError, match=message):
        find_ffmpeg(path)
    on_path(program('ffmpeg version n9.0.2-17-g2a57 x', name='carried'))
    found = find_ffmpeg()
    assert (Path(found.path).name, found.origin) == ('carried', 'of the package imageio-ffmpeg')
    assert 'the ffmpeg on PATH is passed over' in caplog.text and message in caplog.text


def test_it_is_told_where_the_program_comes_from(program, on_path, tmp_path):
    path = program('ffmpeg version 6.1 x')
    assert find_ffmpeg(path).origin == 'as asked for with --ffmpeg'
    on_path(program('ffmpeg version 9.0 x', name='carried'))
    assert find_ffmpeg() == Ffmpeg(path, '6.1') and find_ffmpeg().origin == 'found on PATH'
    os.unlink(path)
    find_ffmpeg.cache_clear()
    assert find_ffmpeg().origin == 'of the package imageio-ffmpeg'


def test_the_last_frame_with_an_old_one():
    """4.2 and 4.3 end the edit list before the last frame."""
    for version, flag in (
        ('4.2.2-static', True),
        ('n4.4', True),
        ('5.0.1', True),
        ('5.1.9-0+deb12u1', False),
        ('9.0', False),
    ):
        argv = Encoding().video(Ffmpeg('x', version), '/in', '/out')
        assert (('-use_editlist', '0') in zip(argv, argv[1:])) is flag and argv[-3:] == [
            '-f',
            'mp4',
            'file:/out',
        ]


def test_no_ffmpeg(monkeypatch, tmp_path):
    with pytest.raises(FfmpegError, match='no/such/ffmpeg is not a program that can be run'):
        find_ffmpeg('no/such/ffmpeg')
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
    find_ffmpeg.cache_clear()
    with pytest.raises(
        FfmpegError, match='no ffmpeg on PATH.*or keep the files as they are with --to original'
    ):
        find_ffmpeg()


@pytest.mark.parametrize(
    ('version', 'expected'),
    [
        ('4.4.2-0ubuntu0.22.04.1', ('-vsync', '-1')),
        ('n4.4', ('-vsync', '-1')),
        ('5.0.1', ('-vsync', '-1')),
        ('5.1', ('-fps_mode', '-1')),
        ('6.0-static', ('-fps_mode', '-1')),
        ('6.1.1', ('-fps_mode', 'demux')),
        ('n9.0.2-17-g2a57', ('-fps_mode', 'demux')),
        ('10.0', ('-fps_mode', 'demux')),
        ('N-112233-gabc', ('-fps_mode', 'demux')),
        ('git-2024', ('-fps_mode', 'demux')),
    ],
)
def test_flags_of_versions(version, expected):
    assert (Ffmpeg('x', version).passthrough[0], Ffmpeg('x', version).passthrough[3]) == expected
    assert Ffmpeg('x', version).passthrough[1::2][0] == 'passthrough' and ffmpeg.Encoding().scale()


def test_an_ffmpeg_that_is_killed_is_asked_again(tmp_path):
    """A run failed when the program was killed while it told its version."""
    program = tmp_path / 'ffmpeg'
    program.write_text(
        f'#!/bin/sh\nif [ ! -e {tmp_path}/asked ]; then touch {tmp_path}/asked; kill -9 $$; fi\n'
        'echo "ffmpeg version 7.1 built with libx264"\n'
    )
    program.chmod(0o755)
    assert find_ffmpeg(str(program)).version == '7.1'
