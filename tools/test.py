#!/usr/bin/env python
"""Test a checkpoint on the test set of a config; of a config with stages, with the settings of the last one."""
from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

ROOT = Path(__file__).resolve().parents[1]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint: a file or an http(s) address')
    parser.add_argument('--work-dir', help='where the log and test_results.json go (default: work_dir of the config, or '
                                           './work_dirs/<config name>)')
    parser.add_argument('--stage', metavar='NAME', help="test with this stage's settings instead of the last one's")
    parser.add_argument('--dump', metavar='FILE', help='also write the prediction of every clip to this .pkl file')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', default={},
                        help='override config values, e.g. model.test_centres=random')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='what started the processes')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='given by some launchers')
    args = parser.parse_args(arguments)
    if args.dump is not None and not args.dump.endswith(('.pkl', '.pickle')):
        parser.error(f'--dump {args.dump}: give a file that ends in .pkl')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def stage_config(args: argparse.Namespace) -> Config:
    """The config to test with, ready for a Runner."""
    from gfvideo.engine import ConfigError, adapt_to_devices, expand_stages, load_config, select_stage
    cfg = load_config(args.config)
    work_dir = args.work_dir or args.cfg_options.get('work_dir') or cfg.get('work_dir') or os.path.join('work_dirs', Path(args.config).stem)
    cfg = select_stage(expand_stages(cfg, args.cfg_options), args.stage).cfg
    cfg.work_dir, cfg.load_from, cfg.resume = work_dir, None, False
    if cfg.get('test_dataloader') is None:
        raise ConfigError(f'{args.config} has no test_dataloader; give it test_dataloader, test_cfg and test_evaluator')
    if cfg.get('default_scope') is None:
        cfg.default_scope = 'gfvideo'
    if args.dump is not None:
        metrics = [cfg.test_evaluator] if isinstance(cfg.test_evaluator, dict) else cfg.test_evaluator
        cfg.test_evaluator = [*metrics, dict(type='DumpResults', out_file_path=args.dump)]
    # nothing but the test is built
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg[key] = None
    adapt_to_devices(cfg, args.launcher)
    return cfg


def test(args: argparse.Namespace) -> dict[str, Any]:
    """Run the test; write and return its results."""
    from mmengine.dist import is_main_process
    from mmengine.runner import Runner

    from gfvideo.engine import Stage, check_stages, init_distributed, load_checkpoint, load_weights
    from gfvideo.engine.checkpoint import plain, write_atomically
    cfg = stage_config(args)
    init_distributed(args.launcher, cfg.get('env_cfg'))
    checkpoint = load_checkpoint(args.checkpoint)
    check_stages([Stage('', cfg)])
    runner = Runner.from_cfg(cfg)
    load_weights(runner.model, checkpoint, args.checkpoint)
    metrics = runner.test()
    dataset = getattr(runner.test_dataloader.dataset, 'metainfo', None) or {}
    results = plain(dict(config=args.config, checkpoint=args.checkpoint, stage=cfg.get('stage'), seed=checkpoint['meta'].get('seed'),
                         dataset={key: value for key, value in dataset.items() if key != 'classes'},
                         clips=len(runner.test_dataloader.dataset), metrics=metrics))
    if is_main_process():
        write_atomically(Path(cfg.work_dir) / 'test_results.json', json.dumps(results, indent=1).encode())
        print(table(results))
        print(f'written to {Path(cfg.work_dir) / "test_results.json"}')
    return results


def table(results: dict[str, Any]) -> str:
    """Lines of text: what was tested on what, then a metric a line."""
    dataset = results['dataset']
    head = {'checkpoint': results['checkpoint'], 'clips': results['clips'],
            **{key: dataset.get(key) for key in ('name', 'split', 'present', 'official', 'manifest_hash')}}
    metrics = {name: f'{value:.4f}' if isinstance(value, (int, float)) else value for name, value in results['metrics'].items()}
    width = max(map(len, [*head, *metrics])) + 2
    lines = [f'{key:<{width}}{value}' for key, value in head.items() if value is not None]
    return '\n'.join([*lines, '', *(f'{name:<{width}}{value}' for name, value in metrics.items())])


def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    sys.path.insert(0, str(ROOT))                                 # a checkout that is not installed works too
    from gfvideo.engine import CheckpointError, ConfigError
    try:
        test(args)
    except (ConfigError, CheckpointError, FileNotFoundError) as error:
        sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
