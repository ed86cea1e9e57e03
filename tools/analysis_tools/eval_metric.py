#!/usr/bin/env python
"""Compute metrics again from dumped predictions, with the test_evaluator of a config: no network, no video.

    python tools/test.py CONFIG CHECKPOINT --dump predictions.pkl
    python tools/analysis_tools/eval_metric.py CONFIG predictions.pkl
    # the whole anytime curve instead; of GMACs per clip after the glance and after one look
    python tools/analysis_tools/eval_metric.py CONFIG predictions.pkl \\
        --cfg-options test_evaluator.type=AnytimeMetric test_evaluator.costs=1.2,3.4
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

ROOT = Path(__file__).resolve().parents[2]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('config', help='config file, whose test_evaluator computes')
    parser.add_argument('predictions', metavar='PKL', help='.pkl file that tools/test.py --dump wrote')
    parser.add_argument(
        '--stage', metavar='NAME', help="compute with this stage's test_evaluator instead of the last one's"
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        default={},
        help='override config values, e.g. test_evaluator.costs=1.2,3.4',
    )
    return parser.parse_args(arguments)


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """The metrics of the predictions, by name."""
    from mmengine.evaluator import Evaluator
    from mmengine.registry import DefaultScope

    from gfvideo.engine import ConfigError, expand_stages, load_config, select_stage
    from gfvideo.evaluation import read_predictions

    cfg = select_stage(expand_stages(load_config(args.config), args.cfg_options), args.stage).cfg
    if cfg.get('test_evaluator') is None:
        raise ConfigError(
            f"{args.config} has no test_evaluator; give it one, e.g. test_evaluator=dict(type='ClipAccuracy')"
        )
    clips = read_predictions(args.predictions)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'gfvideo'):
        return Evaluator(cfg.test_evaluator).offline_evaluate(clips)


def table(metrics: dict[str, Any]) -> str:
    """A metric a line, as tools/test.py prints them."""
    width = max(map(len, metrics)) + 2
    told = {name: f'{value:.4f}' if isinstance(value, float) else value for name, value in metrics.items()}
    return '\n'.join(f'{name:<{width}}{value}' for name, value in told.items())


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.engine import tell_faults

    with tell_faults():
        try:
            print(table(evaluate(args)))
        except (ValueError, KeyError) as error:  # of the file, or of a metric that lacks something in it
            sys.exit(f'{type(error).__name__}: {error.args[0]}')


if __name__ == '__main__':
    main()
