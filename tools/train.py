#!/usr/bin/env python
"""Train a config: all its stages in order, or one of them."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config, DictAction

if TYPE_CHECKING:
    from gfvideo.engine import Stage

ROOT = Path(__file__).resolve().parents[1]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir',
        help=(
            'where logs and checkpoints go, each stage in a folder of its name (default: work_dir of the '
            'config, or ./work_dirs/<config name>)'
        ),
    )
    parser.add_argument(
        '--stage', metavar='NAME', help='train this stage alone, from the finished stage before it'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='PATH',
        help=(
            'go on where the run was cut off: finished stages are left out; with a PATH, from that checkpoint'
        ),
    )
    parser.add_argument(
        '--amp', action='store_true', help='automatic mixed precision (bfloat16), on CPU or GPU'
    )
    parser.add_argument('--no-validate', action='store_true', help='do not validate while training')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help=(
            'scale learning rates by the real batch size over auto_scale_lr.base_batch_size; a stage that'
            ' trains the policy keeps its own'
        ),
    )
    parser.add_argument('--seed', type=int, help='random seed (default: that of the config)')
    parser.add_argument(
        '--diff-rank-seed', action='store_true', help='another seed for each process: that of the run + rank'
    )
    parser.add_argument('--deterministic', action='store_true', help='deterministic algorithms only')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        default={},
        help=(
            'override config values, e.g. model.num_classes=3, in every stage; stages.STAGE.KEY=VALUE, with'
            ' the name of a stage or its number from 0, in that one'
        ),
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='given by some launchers')
    args = parser.parse_args(arguments)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def apply_flags(cfg: Config, args: argparse.Namespace) -> None:
    """Set in a stage's config, in place, what the flags say."""
    from gfvideo.engine import adapt_to_devices, scale_rates

    if args.amp:
        cfg.merge_from_dict({'optim_wrapper.type': 'AutocastOptimWrapper'})
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    scale_rates(cfg, args.auto_scale_lr)
    if args.seed is not None:
        cfg.merge_from_dict({'randomness.seed': args.seed})
    if args.diff_rank_seed:
        cfg.merge_from_dict({'randomness.diff_rank_seed': True})
    if args.deterministic:
        cfg.merge_from_dict({'randomness.deterministic': True})
    adapt_to_devices(cfg, args.launcher)


def train(args: argparse.Namespace, options: list[str]) -> None:
    from gfvideo.engine import (
        check_pretrained,
        check_stages,
        expand_stages,
        init_distributed,
        keep_for_the_file,
        load_config,
        run_stages,
        select_stage,
    )

    keep_for_the_file()
    cfg = load_config(args.config)
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or os.path.join('work_dirs', Path(args.config).stem)
    stages = expand_stages(cfg, args.cfg_options)
    for stage in stages:
        apply_flags(stage.cfg, args)
    if args.stage is not None and 'load_from' in args.cfg_options:
        select_stage(stages, args.stage).cfg.start_from = 'load_from'
    init_distributed(args.launcher, stages[0].cfg.get('env_cfg'))
    check_pretrained(stages)
    check_stages(stages)
    resume = args.resume
    if resume is None and stages[0].cfg.get('resume'):  # mmengine's own way of asking for it
        resume = stages[0].cfg.get('load_from') or 'auto'
    tell_next(stages, run_stages(stages, args.stage, resume), args, options)


def tell_next(stages: Sequence[Stage], number: int, args: argparse.Namespace, options: list[str]) -> None:
    """Log the commands that come after stage ``number``."""
    from mmengine.dist import is_main_process
    from mmengine.logging import print_log

    from gfvideo.engine import latest_checkpoint, next_commands, next_steps

    checkpoint = latest_checkpoint(stages[number].cfg.work_dir)
    if checkpoint is not None and is_main_process():
        if checkpoint.is_absolute() and checkpoint.is_relative_to(Path.cwd()):
            checkpoint = checkpoint.relative_to(Path.cwd())
        commands = next_commands(stages, number, checkpoint, args.config, args.work_dir, options)
        print_log(next_steps(commands), logger='current')


def options_of(arguments: list[str]) -> list[str]:
    """KEY=VALUE behind --cfg-options, as they were typed."""
    found, inside = [], False
    for argument in arguments:
        inside = argument == '--cfg-options' or (inside and not argument.startswith('--'))
        found += [argument] if inside and '=' in argument else []
    return found


def resuming(arguments: list[str]) -> str:
    """The command that goes on where this one was cut off."""
    kept, before = [], ''
    for argument in arguments:
        path = before == '--resume' and not argument.startswith('-')
        if not path and argument != '--resume' and not argument.startswith('--resume='):
            kept.append(argument)
        before = '' if path else argument
    return shlex.join([*command(), *kept, '--resume'])


def command() -> list[str]:
    """How this tool is called; several processes are started by their script."""
    if 'LOCAL_WORLD_SIZE' in os.environ:
        return ['torchrun', f'--nproc_per_node={os.environ["LOCAL_WORLD_SIZE"]}', sys.argv[0]]
    return ['python', sys.argv[0]]


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.engine import leave_distributed, tell_faults

    given = sys.argv[1:] if arguments is None else [str(argument) for argument in arguments]
    with tell_faults(resuming(given)):
        train(args, options_of(given))
        leave_distributed()


if __name__ == '__main__':
    main()
