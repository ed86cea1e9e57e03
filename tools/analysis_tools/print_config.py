#!/usr/bin/env python
"""Print a config as it will be used: inherited files, stages and options merged."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction

ROOT = Path(__file__).resolve().parents[2]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--stage', metavar='NAME', help='print this stage alone')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        default={},
        help='as for tools/train.py',
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.engine import ConfigError, expand_stages, load_config, select_stage

    try:
        stages = expand_stages(load_config(args.config), args.cfg_options)
        for name, cfg in stages if args.stage is None else [select_stage(stages, args.stage)]:
            print(f'# stage {name!r}\n{cfg.pretty_text}' if name else cfg.pretty_text)
    except (ConfigError, FileNotFoundError) as error:
        sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
