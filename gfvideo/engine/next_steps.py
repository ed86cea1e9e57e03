"""The commands that come after a training."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..home import home
from .stages.expand import Stage

__all__ = ['next_commands', 'next_steps']

# options of a training that a test needs to build the same network and read the same clips
_KEPT = ('model', 'data_preprocessor', 'test_dataloader', 'val_dataloader', 'custom_imports', 'num_frames')


def next_commands(
    stages: Sequence[Stage],
    number: int,
    checkpoint: str | Path,
    config: str,
    work_dir: str | None = None,
    options: Sequence[str] = (),
) -> dict[str, list[str]]:
    """What to type next, by what it is for.

    Args:
        stages: of the config.
        number: the last of them that is trained, from 0.
        checkpoint: its last one.
        config: as it was named.
        work_dir: as it was given; None for the one of the config.
        options: KEY=VALUE as they were given to the training.
    """
    name, cfg = stages[number]
    own = _kept(options, name, number)
    more = ['--cfg-options', *own] if own else []
    given = ['--work-dir', work_dir] if work_dir else []
    commands: dict[str, list[str]] = {}
    last = number == len(stages) - 1
    if not last:
        follow = [option for option in options if not option.startswith(('load_from=', 'work_dir='))]
        follow = ['--cfg-options', *follow] if follow else []
        commands['train the next stage'] = [
            *_tool('train'), config, '--stage', stages[number + 1].name, *given, *follow
        ]  # fmt: skip
    both = [config, str(checkpoint)]
    if cfg.get('test_dataloader') is not None:
        stage = [] if last else ['--stage', name]
        into = ['--work-dir', os.path.join(work_dir, 'test')] if work_dir else []
        commands['accuracy on the test split'] = [*_tool('test'), *both, *stage, *into, *more]
    if not last:
        return commands
    split = _held_out(cfg)
    looks = 'policy' in cfg.model and cfg.model.get('steps', 1) != 0
    one_class = not _several_classes(cfg)  # a clip, without which exits and controls are not fitted
    if looks and split and one_class and cfg.model.get('test_centres', 'mean') in ('mean', 'centre'):
        commands['early exit'] = [*_tool('calibrate'), *both, *split, *more]
    if looks and cfg.get('test_dataloader') is not None:
        pictures = os.path.join(cfg.work_dir, 'focus')
        commands['pictures of where it looks'] = [*_tool('focus'), *both, '--out', pictures, *more]
    if looks and split and one_class and str(cfg.model.type).endswith('GlanceFocusRecognizer'):
        commands['what the policy is worth'] = [*_tool('controls'), *both, *split, *more]
    if (home() / _SCRIPTS['report']).is_file():
        run = os.path.dirname(cfg.work_dir) if name else cfg.work_dir
        commands['all of it on one page'] = [*_tool('report'), run]
    return commands


def next_steps(commands: dict[str, list[str]]) -> str:
    """``commands`` as lines to copy, each below what it is for."""
    lines = [f'  # {what}\n  {shlex.join(command)}' for what, command in commands.items()]
    return '\n'.join(['what to type next:', *lines])


def _kept(options: Sequence[str], stage: str, number: int) -> list[str]:
    of_stage = tuple(f'stages.{which}.{key}' for which in (stage, number) for key in _KEPT)
    return [option for option in options if option.startswith((*_KEPT, *of_stage))]


def _several_classes(cfg: Any) -> bool:
    """Whether the clips that are tested may show several classes."""
    metrics = cfg.get('test_evaluator') or cfg.get('val_evaluator') or []
    metrics = [metrics] if isinstance(metrics, dict) else metrics
    return any('MeanAveragePrecision' in str(metric.get('type')) for metric in metrics)


def _held_out(cfg: Any) -> list[str]:
    """--split and --fold of the clips that training validates on."""
    dataset = (cfg.get('val_dataloader') or {}).get('dataset') or {}
    fold = ['--fold', str(dataset['fold'])] if dataset.get('fold') else []
    return ['--split', dataset['split'], *fold] if dataset.get('split') else []


_SCRIPTS = dict(
    train='tools/train.py',
    test='tools/test.py',
    calibrate='tools/calibrate.py',
    focus='tools/visualizations/show_focus.py',
    controls='tools/analysis_tools/controls.py',
    report='tools/report.py',
)


def _tool(name: str) -> list[str]:
    """How a tool is called: as the one that runs now was."""
    if sys.argv[0].startswith('gfvideo '):
        return ['gfvideo', name]
    script = home() / _SCRIPTS[name]
    relative = os.path.relpath(script)
    return ['python', str(script) if relative.startswith(os.pardir) else relative]
