"""The plain code of the benchmark is the same network and the same clip as ours; ratios are taken pair by
pair."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis_tools' / 'benchmark.py'


@pytest.fixture(scope='module')
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location('benchmark_tool', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_both_tsm_are_the_same_network(benchmark):
    ours, plain = benchmark.our_tsm(7, 4), benchmark.plain_tsm(7, 4)
    benchmark.copy_weights(plain, ours)
    x = benchmark.clips(2, 4, 64)
    with torch.no_grad():
        scores = ours(x), plain(x)
    assert scores[0].shape == (2, 7)
    benchmark.check_equal(*scores)
    with pytest.raises(RuntimeError, match='not the same network'):
        benchmark.check_equal(scores[0] * 1.001, scores[1])


def test_both_read_the_same_clip(benchmark, painted_video):
    pytest.importorskip('decord')
    video = painted_video(24, height=64, width=160)
    ours = benchmark.our_pipeline(8, 48, 32, 'auto')(str(video))
    plain = benchmark.read_by_hand(str(video), 8, 48, 32)
    assert ours.shape == (8, 3, 32, 32) and ours.dtype == torch.uint8
    assert benchmark.mean_difference(ours, plain) < 0.5
    assert benchmark.mean_difference(ours, plain[:, :, 1:]) == 255


def test_both_plain_ways_cut_alike(benchmark):
    images = np.random.default_rng(0).integers(0, 256, (2, 60, 100, 3), dtype=np.uint8)
    cut = benchmark.cut_by_hand(images, 30, 20)
    assert cut.shape == (2, 3, 20, 20)
    expected = cv2.resize(images[1], (50, 30))[5:25, 15:35]
    assert (cut[1].permute(1, 2, 0).numpy() == expected).all()


def test_rows_are_loaded_from_the_table_and_from_the_text(benchmark, capsys):
    benchmark.main(['rows', '--clips', '300'])
    told = capsys.readouterr().out.splitlines()
    assert [line.split(':')[0] for line in told] == ['300 rows from the table', '300 rows from the text']


def test_rounds_are_paired_and_the_first_does_not_count(benchmark, monkeypatch):
    calls = []
    seconds = {
        'ours': iter([(9.0, 9.0), (1.0, 2.0), (2.0, 2.0), (4.0, 2.0)]),
        'plain': iter([(9.0, 9.0), (2.0, 2.0), (2.0, 4.0), (12.0, 6.0)]),
    }

    def timed(function):
        function()
        return next(seconds[calls[-1]])

    monkeypatch.setattr(benchmark, 'timed', timed)
    result = benchmark.compare(lambda: calls.append('ours'), lambda: calls.append('plain'), 3)
    assert calls == ['plain', 'ours', 'ours', 'plain'] * 2
    assert (result.ours_ms, result.plain_ms) == (2000, 2000)
    assert result.wall == (1.5, 2, 2.5) and result.cpu == (1.5, 2, 2.5)
    assert 'ratio 2.000 (1.500 to 2.500)' in str(result)


def test_memory_is_measured_in_its_own_process(benchmark):
    measured = benchmark.peak_memory(
        'plain', 1, benchmark.parse_args(['tsm', '--frames', '2', '--size', '32'])
    )
    assert 0 <= measured['added'] < measured['peak'] < 10_000


def test_files_are_spread_evenly(benchmark, tmp_path):
    for name in 'abcdefg':
        (tmp_path / f'{name}.webm').touch()
    (tmp_path / 'note.txt').touch()
    assert [Path(file).stem for file in benchmark.videos_in([tmp_path], 3)] == ['a', 'd', 'g']
    assert len(benchmark.videos_in([tmp_path, tmp_path / 'a.webm'], 99)) == 8
    with pytest.raises(FileNotFoundError, match='no video'):
        benchmark.videos_in([tmp_path / 'empty'] if (tmp_path / 'empty').mkdir() is None else [], 3)
    with pytest.raises(FileNotFoundError, match='does not exist'):
        benchmark.videos_in([tmp_path / 'gone'], 3)


def test_glances_of_graphs_and_torch(benchmark, capsys):
    for library in ('onnx', 'onnxscript', 'onnxruntime'):
        pytest.importorskip(library)
    threads = torch.get_num_threads()
    try:
        benchmark.main(['onnx', '--frames', '2', '--glance-size', '32', '--size', '32', '--rounds', '2'])
    finally:
        torch.set_num_threads(threads)
    told = capsys.readouterr().out
    assert told.count('T=2, frames of 32x32: ours') == 1 and 'ratio' in told


def test_help(tmp_path):
    done = subprocess.run(
        [sys.executable, str(TOOL), '--help'], cwd=tmp_path, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0 and 'usage: benchmark.py' in done.stdout


def test_arguments_that_make_no_sense(benchmark, tmp_path):
    with pytest.raises(SystemExit):
        benchmark.parse_args(['tsm', '--batch', '0'])
    with pytest.raises(SystemExit):
        benchmark.parse_args(['onnx', '--frames', '8', '0'])
    with pytest.raises(SystemExit, match='does not exist'):
        benchmark.main(['reading', str(tmp_path / 'gone')])


# ------------------------------------------------------------------------------------------------- the table

TINY = '--clips 2 --frame-size 40 48 --glance-size 32 --patch-size 32 --size 32 --rounds 1 --batch 3'.split()


@pytest.fixture
def threads():
    """Those of torch, which the tool sets."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def counted(benchmark, monkeypatch):
    """Comparisons run once and take times as told: plain 3 ms, ours 2 ms, by the clock twice as long."""
    runs = []

    def compare(ours, plain, rounds):
        ours(), plain()
        runs.append(rounds)
        return benchmark.Comparison(4.0, 6.0, (1.4, 1.5, 1.6), (1.4, 1.5, 1.6))

    monkeypatch.setattr(benchmark, 'compare', compare)
    return runs


def test_all_rows_are_kept_and_gone_on_with(benchmark, counted, threads, tmp_path, capsys, painted_video):
    out = tmp_path / 'table.json'
    command = ['all', *TINY, '--engines', 'eager', '--out', str(out), '--videos', str(painted_video(12))]
    benchmark.main([*command, '--only', 'to static TSM'])
    assert len(counted) == 3
    told = json.loads(out.read_text())
    assert list(told['rows']) == [
        f'eager: {what}, to static TSM'
        for what in ('clips, all looks', 'clips, exits at half cost', 'streams, all looks')
    ]
    clips, early, streams = told['rows'].values()
    assert clips['ours_ms'] == 4.0 / 2 and streams['plain_ms'] == 6.0 / 16 and clips['cpu'] == [1.4, 1.5, 1.6]
    assert early['limit'] > clips['limit'] > 0 and early['mark'] == pytest.approx(0.9 * early['limit'])
    assert told['machine']['cores'] and told['settings']['patch_size'] == 32
    capsys.readouterr()

    benchmark.main(command)  # the rest
    shown = capsys.readouterr().out
    rows = json.loads(out.read_text())['rows']
    assert len(counted) == len(rows) and 'eager: exits at half cost to none, batch 3' in rows
    for library in ('decord', 'torchcodec'):
        assert f'reading to {library} and cv2' in shown  # measured, or left out by name
    assert 'eager: static TSM to MMAction2' in shown
    assert all(name in shown for name in rows)
    with pytest.raises(SystemExit, match=r'rows of other settings.*--out'):
        benchmark.main([*command, '--rounds', '2'])
    with pytest.raises(SystemExit, match="no row has 'nothing'"):
        benchmark.main([*command, '--only', 'nothing'])
    out.write_text('{}')
    with pytest.raises(SystemExit, match='is no table'):
        benchmark.main(command)


def test_what_was_measured_stays_when_interrupted(benchmark, counted, threads, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'table.json'
    plain = benchmark.compare

    def interrupted(*given):
        if len(counted) == 1:
            raise KeyboardInterrupt
        return plain(*given)

    monkeypatch.setattr(benchmark, 'compare', interrupted)
    command = ['all', *TINY, '--engines', 'eager', '--out', str(out), '--only', 'folded']
    with pytest.raises(SystemExit, match='goes on from here'):
        benchmark.main(command)
    assert list(json.loads(out.read_text())['rows']) == ['folded to unfolded, static TSM']
    monkeypatch.setattr(benchmark, 'compare', plain)
    benchmark.main(command)
    assert len(counted) == 2 and len(json.loads(out.read_text())['rows']) == 2


def test_rows_say_what_they_reach_and_when_the_machine_was_busy(benchmark, tmp_path, monkeypatch, capsys):
    from gfvideo.measuring import table

    row = table.MeasuredRow(2, 3, (1.0, 2.0, 3.0), (1.4, 1.5, 1.6), limit=3.0, mark=2.0, others=0.02)
    assert row.reached == 0.5
    assert '50 %' in table.as_line('a', row) and '2.00*' in table.as_line('a', row)
    assert '1.50 (1.40 to 1.60)' in table.as_line('a', row) and 'busy' not in table.as_line('a', row)
    assert '*' not in table.as_line('a', row._replace(mark=1.2))
    monkeypatch.setattr(table.Load, 'others', lambda load: 0.6)

    def missing():
        raise ImportError('no such library')

    table.Table(None, {}).measure({'there': lambda: row, 'not there': missing})
    told = capsys.readouterr().out
    assert 'busy: 60% other work' in told and 'the machine was busy' in told
    assert 'left out: no such library' in told


def test_engines_and_batches_suit_the_device(benchmark, monkeypatch):
    """One clip after the other on a CPU; on a GPU all of a run together."""
    assert benchmark.parse_args(['engines']).engines == ['eager', 'onnxruntime']
    assert benchmark.parse_args(['all', '--device', 'cuda:1']).engines == ['eager', 'compile']
    assert benchmark.parse_args(['all', '--device', 'cuda', '--engines', 'eager']).engines == ['eager']
    if not torch.cuda.is_available():
        with pytest.raises(SystemExit, match="device 'cuda' is not here"):
            benchmark.main(['engines', '--device', 'cuda'])
    assert benchmark.Pairs(benchmark.parse_args(['engines', *TINY[:-2]])).together == 1
    monkeypatch.setattr('gfvideo.engine.choose_device', lambda name: torch.device('meta'))
    pairs = benchmark.Pairs(benchmark.parse_args(['engines', *TINY[:-2], '--device', 'cuda']))
    assert pairs.together == 2 and pairs.frames.device.type == 'meta'


def test_the_static_network_is_that_of_mmaction2(benchmark, counted, threads, capsys):
    pytest.importorskip('mmaction.models', reason='MMAction2 is not installed', exc_type=ImportError)
    benchmark.main(['all', *TINY, '--engines', 'eager', '--only', 'MMAction2'])  # refused if it says another
    assert len(counted) == 1
