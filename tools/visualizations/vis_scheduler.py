#!/usr/bin/env python
"""Draw the learning rate, or momentum, over the epochs of all stages of a config, as its schedulers will set
it: no data is read and nothing is trained.

    python tools/visualizations/vis_scheduler.py CONFIG --out rates.png
    # the dataset is not prepared here
    python tools/visualizations/vis_scheduler.py CONFIG --iters-per-epoch 2640

Rates are those of the optimizer, before paramwise_cfg multiplies those of single parts.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path

from mmengine.config import Config, DictAction

ROOT = Path(__file__).resolve().parents[2]
FORMS = ('.png', '.pdf', '.svg')
POINTS = 1500  # most points of a stage that are drawn


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--parameter', '-p', choices=['lr', 'momentum'], default='lr', help='(default: %(default)s)'
    )
    parser.add_argument(
        '--iters-per-epoch',
        type=int,
        metavar='N',
        help='batches of an epoch (default: of the training set, which must be prepared)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('schedule.png'),
        metavar='FILE',
        help=f'{", ".join(FORMS)} (default: %(default)s)',
    )
    parser.add_argument('--stage', metavar='NAME', help='of this stage alone')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        default={},
        help='as for tools/train.py',
    )
    args = parser.parse_args(arguments)
    if args.iters_per_epoch is not None and args.iters_per_epoch < 1:
        parser.error(f'--iters-per-epoch {args.iters_per_epoch}: an epoch has one batch at least')
    if args.out.suffix not in FORMS:
        parser.error(f'--out {args.out}: give a file that ends in {", ".join(FORMS)}')
    return args


def epoch_length(cfg: Config) -> int:
    """Batches of an epoch of the training set, in one process.

    Raises:
        ConfigError: if the training set is not there.
    """
    from mmengine.registry import DATASETS
    from mmengine.runner import Runner

    from gfvideo.data.manifest import ManifestError
    from gfvideo.engine import ConfigError

    try:
        clips = len(DATASETS.build(cfg.train_dataloader.dataset))
    except (ManifestError, FileNotFoundError) as error:
        raise ConfigError(
            f'{str(error).splitlines()[0]}; or say how long an epoch is with --iters-per-epoch'
        ) from error
    loader = dict(cfg.train_dataloader, dataset=range(clips), num_workers=0, persistent_workers=False)
    return len(Runner.build_dataloader(loader, seed=0))


def values_of(cfg: Config, parameter: str, length: int) -> list[float]:
    """The value in each iteration of a stage, first to last.

    Args:
        cfg: of the stage, in the default scope of its registries.
        parameter: 'lr' or 'momentum'.
        length: iterations of an epoch.

    Raises:
        ConfigError: if the stage does not train by epochs, or its optimizer has no such parameter.
    """
    import torch
    from mmengine.optim import OptimWrapper
    from mmengine.registry import OPTIMIZERS, PARAM_SCHEDULERS

    from gfvideo.engine import ConfigError

    epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer')
    if epochs is None or optimizer is None:
        raise ConfigError(
            'a schedule needs train_cfg.max_epochs and optim_wrapper.optimizer; give a config that trains'
        )
    made = OPTIMIZERS.build(dict(optimizer, params=[torch.nn.Parameter(torch.zeros(1))]))
    wrapper = OptimWrapper(made)
    given = copy.deepcopy(cfg.get('param_scheduler') or [])
    schedulers = []
    for one in [given] if isinstance(given, dict) else given:
        one.setdefault('end', epochs * (1 if one.get('by_epoch', True) else length))  # as the Runner does
        schedulers.append(
            PARAM_SCHEDULERS.build(one, default_args=dict(optimizer=wrapper, epoch_length=length))
        )
    read = wrapper.get_lr if parameter == 'lr' else wrapper.get_momentum
    values = []
    for _ in range(epochs):
        for _ in range(length):
            values.append(float(read()[parameter][0]))
            wrapper.step()  # of nothing; a scheduler warns without
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in schedulers:
            if scheduler.by_epoch:
                scheduler.step()
    return values


def stage_values(args: argparse.Namespace) -> list[tuple[str, int, list[float]]]:
    """Name, batches of an epoch, and the value in each iteration, of every stage."""
    from mmengine.registry import DefaultScope

    from gfvideo.engine import expand_stages, load_config, select_stage

    stages = expand_stages(load_config(args.config), args.cfg_options)
    found = []
    for name, cfg in stages if args.stage is None else [select_stage(stages, args.stage)]:
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'gfvideo'):
            length = args.iters_per_epoch or epoch_length(cfg)
            found.append((name, length, values_of(cfg, args.parameter, length)))
        if (cfg.get('auto_scale_lr') or {}).get('enable'):
            print('auto_scale_lr is on: a run multiplies these rates by its batch size', file=sys.stderr)
    return found


def show(args: argparse.Namespace) -> list[str]:
    """Draw it; the lines to print."""
    import io

    from matplotlib import rc_context

    from gfvideo.files import write_atomically
    from gfvideo.report.charts import Line, LineChart
    from gfvideo.report.figures import SETTINGS, draw_figure

    xs: list[float] = []
    ys: list[float] = []
    marks, lines, before = [], [], 0.0
    for name, length, values in stage_values(args):
        step = max(1, len(values) // POINTS)
        kept = sorted({*range(0, len(values), step), len(values) - 1})
        xs += [before + place / length for place in kept]
        ys += [values[place] for place in kept]
        if name:
            marks.append((before, name))
        epochs = len(values) // length
        lines.append(
            f'{name or "run":<12}{epochs:>4} epochs of {length} iterations, {args.parameter}'
            f' {values[0]:.3g} first, {max(values):.3g} highest, {values[-1]:.3g} last'
        )
        before += epochs
    what = dict(lr='learning rate').get(args.parameter, args.parameter)
    chart = LineChart('schedule', what, what, 'epochs', what, [Line(what, xs, ys)], marks=marks)
    drawn = io.BytesIO()
    with rc_context(SETTINGS):
        figure = draw_figure(chart)
        figure.axes[0].get_legend().remove()  # of one line, which would hide a stage's name
        figure.savefig(drawn, format=args.out.suffix[1:], dpi=200)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.out, drawn.getvalue())
    return [*lines, f'written to {args.out}']


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.engine import tell_faults

    with tell_faults():
        try:
            print('\n'.join(show(args)))
        except (ValueError, KeyError) as error:
            sys.exit(f'{type(error).__name__}: {error.args[0]}')


if __name__ == '__main__':
    main()
