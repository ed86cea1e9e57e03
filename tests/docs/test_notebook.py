"""The notebook of the pages runs, from its first cell to its last."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / 'docs' / 'ten_minutes.ipynb'


def cells(kind: str) -> list[str]:
    return [
        ''.join(cell['source'])
        for cell in json.loads(NOTEBOOK.read_text())['cells']
        if cell['cell_type'] == kind
    ]


@pytest.mark.slow
def test_every_cell_runs(tmp_path):
    """As a program, in an empty folder: what a kernel would do, without its machinery."""
    (tmp_path / 'notebook.py').write_text('\n\n'.join(cells('code')))
    done = subprocess.run(
        [sys.executable, 'notebook.py'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert '3 answers (the glance and 2 looks), 6 classes' in done.stdout
    assert 'the same answers: True' in done.stdout or 'gfvideo[hub]' in done.stdout


def test_the_notebook_is_kept_without_what_a_run_left():
    content = json.loads(NOTEBOOK.read_text())
    assert content['nbformat'] == 4 and len({cell['id'] for cell in content['cells']}) == len(
        content['cells']
    )
    for cell in content['cells']:
        if cell['cell_type'] == 'code':
            assert cell['outputs'] == [] and cell['execution_count'] is None


def test_the_notebook_links_to_pages_that_are_there():
    for text in cells('markdown'):
        for target in re.findall(r'\]\(([^)#]+)', text):
            assert (NOTEBOOK.parent / target).is_file(), target
