"""A tiny config of three stages, and tools/train.py called in this process."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))  # the config imports toy_clips


def load_tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f'tool_{Path(name).stem}', ROOT / 'tools' / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True, scope='session')
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope='session')
def three_stages() -> Path:
    """The config file."""
    return HERE / 'three_stages.py'


@pytest.fixture(scope='session')
def train(three_stages):
    """``train(work_dir, '--resume', 'model.steps=1')``: tools/train.py on the config, with flags and then
    options."""
    main = load_tool('train.py').main

    def call(work_dir: Path, *arguments: str, config: Path = three_stages) -> None:
        options = [argument for argument in arguments if '=' in argument]
        flags = [argument for argument in arguments if '=' not in argument]
        main(
            [
                str(config),
                '--work-dir',
                str(work_dir),
                *flags,
                *(['--cfg-options', *options] if options else []),
            ]
        )

    return call


@pytest.fixture(scope='session')
def uncut(train, tmp_path_factory) -> Path:
    """The work dir of a run of all stages that nobody disturbed."""
    work_dir = tmp_path_factory.mktemp('uncut')
    train(work_dir)
    return work_dir


@pytest.fixture(scope='session')
def environment() -> dict[str, str]:
    """For child processes: the config's module is found, and they share the cores politely."""
    return {
        **os.environ,
        'PYTHONPATH': os.pathsep.join([str(HERE), str(ROOT)]),
        'OMP_NUM_THREADS': '1',
        'PYTHON': sys.executable,
    }
