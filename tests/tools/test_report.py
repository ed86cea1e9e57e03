import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def report(*arguments, cwd):
    command = [sys.executable, str(ROOT / 'tools' / 'report.py'), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=1500)


def test_a_run_of_logs_alone_becomes_a_page_and_figures(tmp_path):
    log = tmp_path / 'run' / '20260101_000000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('{"loss": 2.0, "lr": 0.1, "iter": 1}\n{"loss": 1.0, "lr": 0.1, "iter": 2}\n')
    done = report('run', '--out', 'pages/report.html', '--figures', 'figures', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'written to pages/report.html' in done.stdout
    page = (tmp_path / 'pages' / 'report.html').read_text()
    assert 'python tools/report.py run --out pages/report.html --figures figures' in page
    assert sorted(path.name for path in (tmp_path / 'figures').iterdir()) == [
        'loss.pdf',
        'loss.svg',
        'lr.pdf',
        'lr.svg',
    ]


def test_a_folder_without_a_run_is_refused_in_one_line(tmp_path):
    for folder, message in (('nowhere', 'no run at nowhere'), ('.', 'holds no log')):
        done = report(folder, cwd=tmp_path)
        assert done.returncode == 1 and message in done.stderr
        assert len(done.stderr.splitlines()) == 1
