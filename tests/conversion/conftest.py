"""The tool in this process, and published checkpoints made from their layouts."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import torch

from gfvideo.apis import init_recognizer
from gfvideo.models import Recognizer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))  # for published_networks


def module_at(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='session')
def convert() -> Callable[..., None]:
    """``tools/convert_checkpoint.py``: a function of its arguments."""
    main = module_at(ROOT / 'tools' / 'convert_checkpoint.py').main
    return lambda *arguments: main([str(argument) for argument in arguments])


@pytest.fixture(scope='session')
def checkpoints(shared) -> Path:
    """The folder of published layouts, with the rule that fills them."""
    folder = shared / 'checkpoints'
    if not (folder / 'layouts').is_dir():
        pytest.skip(f'layouts of published checkpoints are not here ({folder}/layouts); this test needs them')
    return folder


@pytest.fixture(scope='session')
def rule(checkpoints) -> ModuleType:
    return module_at(checkpoints / 'rule.py')


class Published(NamedTuple):
    """A published file: what it holds, the file converted, and the model in that."""

    name: str
    content: dict
    output: Path
    model: Recognizer


@pytest.fixture(scope='session')
def published(checkpoints, rule, convert, tmp_path_factory) -> Callable[..., Iterator[Published]]:
    """A function of a layout's name: a context in which its file exists, filled by rule, converted by the
    tool and opened."""

    def filled(name: str) -> dict:
        parts: dict[str, list[str]] = {'': []}
        for line in (checkpoints / 'layouts' / f'{name}.txt').read_text().splitlines():
            if title := re.fullmatch(r'\[(\w+)\]', line):
                parts[title[1]] = []
            elif not line.startswith('#'):
                list(parts.values())[-1].append(line)
        weights = {}
        for part, lines in parts.items():
            weights[part] = {}
            for line in lines:
                key, shape = line.split(' ', 1)
                sides = tuple(int(side) for side in shape.strip('()').split(',') if side.strip())
                weights[part][key] = rule.tensor_for(f'{part}/{key}' if part else key, sides)
        if not name.startswith('gfnet'):
            return dict(epoch=50, best_prec1=61.5, state_dict=weights[''])
        del weights['']
        arch, patch, looks = re.fullmatch(r'gfnet_(\w+)_(\d+)_T(\d)', name).groups()
        costs = [1e8 * (look + 1) for look in range(int(looks))]
        return (
            dict(
                model_name=arch,
                patch_size=int(patch),
                flops=costs,
                model_flops=1e8,
                policy_flops=1e6,
                fc_flops=1e6,
                anytime_classification=costs,
                dynamic_threshold=torch.zeros(39, int(looks)),
                budgeted_batch_classification=[],
            )
            | weights
        )

    @contextmanager
    def opened(name: str, scales: dict[str, float] | None = None) -> Iterator[Published]:
        folder, content = tmp_path_factory.mktemp(name), filled(name)
        for key, scale in (scales or {}).items():  # of weights of which random ones make saturated answers
            content['state_dict'][key] *= scale
        source, output = folder / f'{name}.pth', folder / 'converted.pth'
        torch.save(content, source)
        convert(source, output)
        source.unlink()  # these files are large
        yield Published(name, content, output, init_recognizer(None, output))
        output.unlink()

    return opened


@pytest.fixture
def agrees() -> Callable[..., None]:
    """A function ``(name, ours, expected, tolerance)`` that compares, relative to the largest value;
    ``pytest -s`` shows how close."""

    def compare(name: str, ours: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-4) -> None:
        assert ours.shape == expected.shape
        error = ((ours - expected).abs().max() / expected.abs().max()).item()
        print(f'\n    {name}: {error:.1e}', end='')
        assert error <= tolerance, f'{name} differs by {error:.1e} of the largest value'

    return compare
