"""Records are measured by commands, and a row says all that is needed to measure it again."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis_tools' / 'records.py'


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location('records_tool', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_is_added_to_the_table(tool, tmp_path, monkeypatch, capsys):
    (tmp_path / 'results.json').write_text('[]')
    values = iter(['1 s', '2 | 3\ns'])
    monkeypatch.setitem(tool.RECORDS, 'learn', lambda args: tool.Record('seconds', next(values)))
    out = tmp_path / 'records.md'
    for _ in range(2):
        tool.main(['learn', '--demo', str(tmp_path), '--out', str(out)])
    lines = out.read_text().splitlines()
    assert lines[0] == '# Records' and out.read_text().startswith(tool.HEAD)
    first, second = lines[-2:]
    cells = [cell.strip() for cell in first.split(' | ')]
    assert re.fullmatch(r'\| \d{4}-\d\d-\d\d', cells[0]) and cells[1:3] == ['seconds', '1 s']
    assert re.fullmatch(r'[0-9a-f]{7,}|no checkout', cells[3]) and 'cores' in cells[4]
    assert cells[5].startswith('`python tools/analysis_tools/records.py learn --demo')
    assert ' | 2 / 3 s | ' in second and second.count(' | ') == first.count(' | ')
    assert 'added to' in capsys.readouterr().out


def test_without_a_demo_nothing_is_measured(tool, tmp_path):
    with pytest.raises(SystemExit, match='no results.json; run make demo first'):
        tool.main(['latency', '--demo', str(tmp_path), '--out', str(tmp_path / 'records.md')])
    assert not (tmp_path / 'records.md').exists()


def test_an_exit_that_costs_accuracy_is_no_record(tool, tmp_path):
    (tmp_path / 'results.json').write_text(
        '[{"method": "early exit", "top1": [0.97]}, {"method": "tsm", "top1": [0.99]}]'
    )
    with pytest.raises(SystemExit, match='early exit has 97.0 %, the static network 99.0 %: no record'):
        tool.main(['latency', '--demo', str(tmp_path), '--out', str(tmp_path / 'records.md')])
