"""``gfvideo COMMAND ...``: every tool under one name, wherever the package is installed."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

from . import __version__
from .home import home, list_models

__all__ = ['main']


class Command(NamedTuple):
    """A script below :func:`~gfvideo.home.home`, and what it does."""

    script: str
    does: str


DATASETS = {
    'something-something': Command('data_prep/something_something.py', 'Something-Something V1 and V2'),
    'jester': Command('data_prep/jester.py', 'Jester'),
    'kinetics': Command('data_prep/kinetics.py', 'Kinetics-400, -600, -700 and what has their form'),
    'ucf101': Command('data_prep/ucf101.py', 'UCF101, one of its three splits'),
    'hmdb51': Command('data_prep/hmdb51.py', 'HMDB51, one of its three splits'),
    'diving48': Command('data_prep/diving48.py', 'Diving48, version 2'),
    'activitynet': Command('data_prep/activitynet.py', 'ActivityNet-1.3: whole videos, or annotated parts'),
    'fcvid': Command('data_prep/fcvid.py', 'FCVID'),
    'wlasl': Command('data_prep/wlasl.py', 'WLASL, or its first signs'),
    'epic-kitchens': Command('data_prep/epic_kitchens.py', 'EPIC-KITCHENS-100, by verb or noun'),
    'images': Command('data_prep/images.py', 'ImageNet, or pictures of your own in class folders'),
    'folder': Command('data_prep/folder.py', 'clips of your own, in class folders or listed'),
    'toy': Command('data_prep/toy.py', 'draws the toy videos of the demo'),
}
COMMANDS = {
    'train': Command('tools/train.py', 'train a config, all its stages'),
    'test': Command('tools/test.py', 'accuracy of a checkpoint, with or without early exit'),
    'calibrate': Command('tools/calibrate.py', 'fit early exits to a budget or an accuracy'),
    'look': Command('tools/look.py', 'a film of what a network looks at in a video'),
    'report': Command('tools/report.py', 'one page of what runs reached'),
    'controls': Command('tools/analysis_tools/controls.py', 'learned looks against random, centre, oracle'),
    'curve': Command('tools/analysis_tools/budget_curve.py', 'accuracy against cost'),
    'flops': Command('tools/analysis_tools/get_flops.py', 'multiply-adds and time of a config'),
    'focus': Command('tools/visualizations/show_focus.py', 'pictures of looks'),
    'convert': Command('tools/convert_checkpoint.py', 'published checkpoints into ours, and back'),
    'export': Command('tools/deployment/export_onnx.py', 'ONNX graphs, one a look'),
    'quantize': Command('tools/deployment/quantize_onnx.py', 'an export in 8-bit integers'),
    'publish': Command('tools/deployment/publish_checkpoint.py', 'a checkpoint of weights alone'),
    'save': Command('tools/deployment/save_pretrained.py', 'a folder in the form of model hubs'),
    'config': Command('tools/analysis_tools/print_config.py', 'a config as it will run'),
    'benchmark': Command('tools/analysis_tools/benchmark.py', 'speed, as ratios of paired runs'),
    'demo': Command('tools/demo.py', 'toy videos, training, controls and pictures in minutes'),
    'env': Command('tools/check_environment.py', 'what is installed, and what is missing'),
}
ALIASES = dict.fromkeys(('ssv1', 'ssv2', 'something_something'), 'something-something')


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; ``gfvideo`` alone lists them."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ('-h', '--help', 'help'):
        print(overview())
    elif given[0] in ('-V', '--version'):
        print(f'gfvideo {__version__}')
    elif given[0] == 'models':
        _models(given[1:])
    elif given[0] == 'prepare':
        _prepare(given[1:])
    else:
        _run(given[0], COMMANDS, given[1:], 'gfvideo')


def overview() -> str:
    """The commands, a line each."""
    rows = {
        'prepare': 'a dataset, or clips of your own; gfvideo prepare lists which',
        **{name: command.does for name, command in COMMANDS.items()},
        'models': 'names of the configs that come along; gfvideo models PATTERN',
    }
    lines = [f'  {name:<10} {does}' for name, does in rows.items()]
    return '\n'.join(
        [
            'Glance-and-Focus networks for video.',
            '',
            'gfvideo COMMAND ...; gfvideo COMMAND --help says more.',
            '',
            *lines,
            '',
            'Where a command takes CONFIG, a file or a name of gfvideo models will do.',
        ]
    )


def _models(arguments: Sequence[str]) -> None:
    if len(arguments) > 1 or (arguments and arguments[0].startswith('-')):
        sys.exit("usage: gfvideo models [PATTERN], e.g. gfvideo models '*ssv2*'")
    found = list_models(*arguments)
    if not found:
        sys.exit(f'no config is named like {arguments[0]}; gfvideo models lists all')
    print('\n'.join(found))


def _prepare(arguments: Sequence[str]) -> None:
    if not arguments or arguments[0] in ('-h', '--help'):
        lines = [f'  {name:<20} {command.does}' for name, command in DATASETS.items()]
        print(
            '\n'.join(['gfvideo prepare DATASET ...; gfvideo prepare DATASET --help says more.', '', *lines])
        )
        return
    _run(ALIASES.get(arguments[0], arguments[0]), DATASETS, arguments[1:], 'gfvideo prepare')


def _run(name: str, commands: dict[str, Command], arguments: Sequence[str], program: str) -> None:
    """Run a script as if it were started by its path."""
    if name not in commands:
        near = difflib.get_close_matches(name, commands, n=1, cutoff=0.5)
        hint = f' Did you mean {near[0]}?' if near else ''
        sys.exit(f'{program} has no command {name!r}.{hint} {program} --help lists them.')
    script = home() / commands[name].script
    sys.argv = [f'{program} {name}', *arguments]
    sys.path.insert(0, str(script.parent))  # as when Python is given a script
    module = ModuleType('__main__')
    module.__file__ = str(script)
    sys.modules['__main__'] = module  # which processes that it starts look for
    exec(compile(script.read_bytes(), str(script), 'exec'), module.__dict__)
