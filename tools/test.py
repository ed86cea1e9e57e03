#!/usr/bin/env python
"""Test a checkpoint on the test set of a config; of a config with stages, with the settings of the last one.

    python tools/test.py CONFIG CHECKPOINT
    # and pictures of every tenth clip, with its class and what was said
    python tools/test.py CONFIG CHECKPOINT --show-dir pictures --interval 10
    # exits early, really; exits.json is of tools/calibrate.py
    python tools/test.py CONFIG CHECKPOINT --exits exits.json --budget 0.6

With --exits the clips are tested one by one (--batch-size 1), so that ms is what one clip takes; beside what
really happened stands what a replay on the predictions of all steps says should have happened.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

ROOT = Path(__file__).resolve().parents[1]
HASHES = ('content_hash', 'made_hash', 'manifest_hash')
TOLD_OF_DATA = ('name', 'split', 'fold', 'present', 'official', *HASHES)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint', help='checkpoint: a file, an http(s) address, or the work dir of a run (its last stage)'
    )
    parser.add_argument(
        '--work-dir',
        help=(
            'where the log and test_results.json go (default: work_dir of the config, or '
            './work_dirs/<config name>)'
        ),
    )
    parser.add_argument(
        '--stage', metavar='NAME', help="test with this stage's settings instead of the last one's"
    )
    parser.add_argument(
        '--dump', metavar='FILE', help='also write the prediction of every clip to this .pkl file'
    )
    parser.add_argument('--show-dir', metavar='DIR', help='draw clips with the looks at them to DIR/<id>.png')
    parser.add_argument(
        '--interval',
        type=int,
        default=1,
        metavar='N',
        help='with --show-dir: draw every N-th clip (default: %(default)s)',
    )
    parser.add_argument('--exits', metavar='FILE', help='exit early, as this file of tools/calibrate.py says')
    parser.add_argument(
        '--budget',
        type=float,
        help=(
            'the setting of highest accuracy within this mean cost of a clip (default: the one '
            'that the file chose)'
        ),
    )
    parser.add_argument(
        '--unit', choices=['gmacs', 'ms'], help='what --budget is in (default: as in the file)'
    )
    parser.add_argument(
        '--no-replay', action='store_true', help='with --exits: do not run all steps beside, for the replay'
    )
    parser.add_argument('--split', metavar='NAME', help='test on this split of the prepared dataset')
    parser.add_argument(
        '--fold', metavar='K/N', help='test on the K-th of N parts of the split alone, K from 0'
    )
    parser.add_argument(
        '--batch-size', type=int, help="clips tested at a time (default: the config's; with --exits 1)"
    )
    parser.add_argument(
        '--device', metavar='NAME', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)'
    )
    parser.add_argument(
        '--amp', action='store_true', help='automatic mixed precision (bfloat16), on CPU or GPU'
    )
    parser.add_argument(
        '--runtime',
        choices=['auto', 'eager', 'onnxruntime', 'compile'],
        default='eager',
        help='what computes the looks (default: %(default)s; see docs/performance.md)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        default={},
        help='override config values, e.g. model.test_centres=random',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='given by some launchers')
    args = parser.parse_args(arguments)
    if args.dump is not None and not args.dump.endswith(('.pkl', '.pickle')):
        parser.error(f'--dump {args.dump}: give a file that ends in .pkl')
    if args.exits is None and (args.budget is not None or args.unit or args.no_replay):
        parser.error('--budget, --unit and --no-replay say how to exit early; give --exits FILE too')
    if args.interval < 1:
        parser.error(f'--interval {args.interval}: give a whole number from 1 on')
    if args.interval != 1 and args.show_dir is None:
        parser.error('--interval says which clips are drawn; give --show-dir DIR too')
    if args.device is not None and args.launcher != 'none':
        parser.error(f'--device {args.device}: processes of --launcher {args.launcher} have a device each')
    if args.amp and args.runtime != 'eager':
        parser.error(f'--amp is for eager torch, not for --runtime {args.runtime}')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    args.command = shlex.join(
        ['python', 'tools/test.py', *map(str, sys.argv[1:] if arguments is None else arguments)]
    )
    return args


def stage_config(args: argparse.Namespace) -> Config:
    """The config to test with, ready for a Runner."""
    from gfvideo.engine import ConfigError, adapt_to_devices, expand_stages, load_config, select_stage

    cfg = load_config(args.config)
    work_dir = (
        args.work_dir
        or args.cfg_options.get('work_dir')
        or cfg.get('work_dir')
        or os.path.join('work_dirs', Path(args.config).stem)
    )
    cfg = select_stage(expand_stages(cfg, args.cfg_options), args.stage).cfg
    cfg.work_dir, cfg.load_from, cfg.resume = work_dir, None, False
    if cfg.get('test_dataloader') is None:
        raise ConfigError(
            f'{args.config} has no test_dataloader; give it test_dataloader, test_cfg and test_evaluator'
        )
    if cfg.get('default_scope') is None:
        cfg.default_scope = 'gfvideo'
    loader = cfg.test_dataloader
    for key, value in (('split', args.split), ('fold', args.fold)):
        if value is not None:
            loader.dataset[key] = value
    if args.batch_size is not None or args.exits is not None:
        loader.batch_size = args.batch_size or 1
    if args.dump is not None:
        metrics = [cfg.test_evaluator] if isinstance(cfg.test_evaluator, dict) else cfg.test_evaluator
        cfg.test_evaluator = [*metrics, dict(type='DumpResults', out_file_path=args.dump)]
    # nothing but the test is built
    for key in (
        'train_dataloader',
        'train_cfg',
        'optim_wrapper',
        'param_scheduler',
        'val_dataloader',
        'val_cfg',
        'val_evaluator',
    ):
        cfg[key] = None
    adapt_to_devices(cfg, args.launcher)
    return cfg


def test(args: argparse.Namespace) -> dict[str, Any]:
    """Run the test; write and return its results."""
    from mmengine.runner import Runner

    from gfvideo.deployment import with_runtime
    from gfvideo.engine import (
        Stage,
        check_stages,
        checkpoint_of,
        init_distributed,
        load_checkpoint,
        load_weights,
        weights_hash,
    )

    find_device(args)
    cfg = stage_config(args)
    args.checkpoint = checkpoint_of(args.checkpoint)
    if args.exits is not None:
        return test_exits(args, cfg)
    init_distributed(args.launcher, cfg.get('env_cfg'))
    checkpoint = load_checkpoint(args.checkpoint)
    check_stages([Stage('', cfg)])
    fill_open(cfg, args)
    runner = Runner.from_cfg(cfg)
    to_device(args, runner)
    load_weights(runner.model, checkpoint, args.checkpoint)
    weights = weights_hash(_bare(runner.model).state_dict())
    if args.runtime != 'eager':  # which needs no wrapper: each process its clips
        runner.model = with_runtime(_bare(runner.model).eval(), args.runtime)
    prepare(args, runner, checkpoint, _bare(runner.model))
    return finish(args, cfg, runner, checkpoint, runner.test(), weights=weights)


def fill_open(cfg: Config, args: argparse.Namespace) -> None:
    """Where the config leaves it open how many processes read clips and what pays on a GPU, fill it in and
    say so."""
    from mmengine.logging import print_log

    from gfvideo.engine import fill_gpu, fill_workers

    gpu = None if args.device is None else args.device.type == 'cuda'
    for told in (fill_workers(cfg), fill_gpu(cfg, gpu)):
        if told:
            print_log(told, logger='current')


def find_device(args: argparse.Namespace) -> None:
    """Fill in ``args.device`` where no launcher deals devices out.

    Raises:
        ConfigError: if it is not on this machine.
    """
    from gfvideo.engine import choose_device

    if args.launcher == 'none':
        by_engine = 'cpu' if args.device is None and args.runtime == 'onnxruntime' else args.device
        args.device = choose_device(by_engine)


def to_device(args: argparse.Namespace, runner: Any) -> None:
    """A Runner takes a GPU where there is one; the model goes to the device that was named."""
    if args.device is not None:
        runner.model.to(args.device)


def prepare(args: argparse.Namespace, runner: Any, checkpoint: dict[str, Any], recognizer: Any) -> None:
    """Have a runner test under autocast and draw clips, where that is asked for."""
    import torch

    from gfvideo.engine import ShowHook

    if args.amp:
        device_type, step = next(recognizer.parameters()).device.type, runner.model.test_step

        def test_step(data: Any) -> Any:
            with torch.autocast(device_type, torch.bfloat16):  # as training does
                return step(data)

        runner.model.test_step = test_step
    if args.show_dir is not None:
        told = recognizer.described()
        sizes = {
            name: told[name] and tuple(told[name]) for name in ('patch_size', 'glance_size') if name in told
        }
        classes = (checkpoint['meta'].get('dataset_meta') or {}).get('classes')
        runner.register_hook(
            ShowHook(args.show_dir, args.interval, classes=classes, loss=recognizer.loss, **sizes)
        )


def _bare(model: Any) -> Any:
    from mmengine.model import is_model_wrapper

    return model.module if is_model_wrapper(model) else model


def test_exits(args: argparse.Namespace, cfg: Config) -> dict[str, Any]:
    """Run the test with early exit; write and return its results."""
    from mmengine.dist import is_main_process
    from mmengine.runner import Runner

    from gfvideo.deployment import with_runtime
    from gfvideo.engine import (
        ExitingRecognizer,
        Stage,
        check_exits,
        check_stages,
        init_distributed,
        load_checkpoint,
        load_weights,
        same_clips,
        weights_hash,
    )
    from gfvideo.exits import ExitsFileError, read_exits

    calibration = read_exits(args.exits)
    try:
        setting = calibration.pick(budget=args.budget, unit=args.unit)
    except ValueError as error:
        raise ExitsFileError(f'{args.exits}: {error}') from error
    init_distributed(args.launcher, cfg.get('env_cfg'))
    checkpoint = load_checkpoint(args.checkpoint)
    check_stages([Stage('', cfg)])
    fill_open(cfg, args)
    metric = dict(type='ExitAccuracy', costs=calibration.costs['gmacs'], stream=calibration.kind == 'stream')
    cfg.test_evaluator = (
        [metric, *(one for one in cfg.test_evaluator if one['type'] == 'DumpResults')]
        if args.dump
        else metric
    )
    runner = Runner.from_cfg(cfg)
    to_device(args, runner)
    recognizer = _bare(runner.model)
    load_weights(recognizer, checkpoint, args.checkpoint)
    check_exits(calibration, recognizer.eval(), args.exits)
    weights = weights_hash(recognizer.state_dict())
    # a test needs no wrapper: each process its clips
    recognizer = with_runtime(recognizer, args.runtime)
    runner.model = ExitingRecognizer(recognizer, setting.exits, not args.no_replay)
    prepare(args, runner, checkpoint, recognizer)
    fitted_here = same_clips(calibration, getattr(runner.test_dataloader.dataset, 'metainfo', None) or {})
    results = finish(
        args,
        cfg,
        runner,
        checkpoint,
        runner.test(),
        weights=weights,
        exits=dict(
            file=args.exits,
            budget=args.budget,
            unit=args.unit or calibration.unit,
            fitted_on=calibration.source.get('data'),
            fitted_accuracy=setting.accuracy,
            fitted_probability=setting.probability,
            fitted_costs=setting.costs,
            fitted_on_these_clips=fitted_here,
            criterion=setting.exits.criterion,
            temperature=setting.exits.temperature,
        ),
    )
    if fitted_here and is_main_process():
        print(
            'WARNING: the exits were fitted on clips of this split, so these numbers flatter them; test on'
            ' another split, or fit on a part and test on the other (--fold 0/2 and 1/2)',
            file=sys.stderr,
        )
    return results


def finish(
    args: argparse.Namespace,
    cfg: Config,
    runner: Any,
    checkpoint: dict[str, Any],
    metrics: dict[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """Write and print what was tested on what, and the metrics."""
    from mmengine.dist import is_main_process

    from gfvideo.engine.checkpoint import plain
    from gfvideo.files import write_atomically

    dataset = getattr(runner.test_dataloader.dataset, 'metainfo', None) or {}
    results = plain(
        dict(
            command=args.command,
            config=args.config,
            checkpoint=args.checkpoint,
            stage=cfg.get('stage'),
            runtime=args.runtime,
            precision='bfloat16 (--amp)' if args.amp else None,
            seed=checkpoint['meta'].get('seed'),
            dataset={key: value for key, value in dataset.items() if key != 'classes'},
            clips=len(runner.test_dataloader.dataset),
            metrics=metrics,
            **more,
        )
    )
    if is_main_process():
        write_atomically(Path(cfg.work_dir) / 'test_results.json', json.dumps(results, indent=1).encode())
        print(table(results))
        print(f'written to {Path(cfg.work_dir) / "test_results.json"}')
        if args.show_dir is not None:
            print(f'pictures in {args.show_dir}')
    return results


def table(results: dict[str, Any]) -> str:
    """Lines of text: what was tested on what, then a metric a line."""
    dataset = results['dataset']
    exits = results.get('exits') or {}
    asked = (
        'as chosen in the file'
        if exits.get('budget') is None
        else f'budget {exits["budget"]:g} {exits["unit"]}'
    )
    head = {
        'checkpoint': results['checkpoint'],
        'clips': results['clips'],
        'precision': results['precision'],
        'exits': (
            f'{exits["file"]}, {asked}; on the clips they were fitted on: {exits["fitted_accuracy"]:.4f} at '
            + ', '.join(f'{cost:.4g} {unit}' for unit, cost in exits['fitted_costs'].items())
            if exits
            else None
        ),
        **{key: dataset.get(key) for key in TOLD_OF_DATA},
    }
    metrics = {
        name: f'{value:.4f}' if isinstance(value, float) else value
        for name, value in results['metrics'].items()
    }
    width = max(map(len, [*head, *metrics])) + 2
    lines = [f'{key:<{width}}{value}' for key, value in head.items() if value is not None]
    return '\n'.join([*lines, '', *(f'{name:<{width}}{value}' for name, value in metrics.items())])


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.engine import leave_distributed, tell_faults

    with tell_faults():
        test(args)
        leave_distributed()


if __name__ == '__main__':
    main()
