"""The job scripts for Slurm: bash reads them, and the flags they give are ones that the tools have."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
JOBS = {'prepare': 'data_prep/folder.py', 'train': 'tools/train.py', 'test': 'tools/test.py'}
OF_SLURM = {'--parsable', '--array', '--dependency', '--nodes', '--gpus-per-node'}
OF_TORCHRUN = {
    '--nnodes',
    '--nproc_per_node',
    '--rdzv_id',
    '--rdzv_backend',
    '--rdzv_endpoint',
    '--standalone',
}


@pytest.mark.parametrize('job', JOBS)
def test_bash_reads_it_and_it_says_what_it_wants(job):
    script = ROOT / 'tools' / 'slurm' / f'{job}.sbatch'
    checked = subprocess.run(['bash', '-n', script], capture_output=True, text=True, timeout=600)
    assert checked.returncode == 0 and not checked.stderr
    called = subprocess.run(['bash', script], capture_output=True, text=True, timeout=600)
    assert called.returncode == 2 and f'tools/slurm/{job}.sbatch' in called.stderr


@pytest.mark.parametrize('job', JOBS)
def test_its_flags_are_those_of_the_tool(job):
    text = (ROOT / 'tools' / 'slurm' / f'{job}.sbatch').read_text()
    lines = [line for line in text.splitlines() if not line.startswith('#SBATCH')]
    flags = set(re.findall(r'(?<![\w-])--[a-z][\w-]*', '\n'.join(lines))) - OF_SLURM - OF_TORCHRUN
    told = subprocess.run(
        [sys.executable, ROOT / JOBS[job], '--help'], capture_output=True, text=True, timeout=600, check=True
    ).stdout
    assert flags and flags <= set(re.findall(r'--[a-z][\w-]*', told))
