#!/usr/bin/env python
"""Write a recipe that is not shipped: a config of a few lines, named by what is in it.

    python tools/analysis_tools/make_recipe.py tsm --backbone r50 --dataset minik-arnet --frames 16
    python tools/analysis_tools/make_recipe.py tsm --backbone mobilenetv2 --dataset jester --shift causal
    python tools/analysis_tools/make_recipe.py glance-focus --backbone mobilenetv2-r50 --dataset ssv1 \\
        --frames 12 --patch 96 --steps 1
    # anywhere else; FILE.py or a folder, in which it gets its name
    python tools/analysis_tools/make_recipe.py tsn --backbone r50 --dataset k400 --out my_configs

It trains with the schedules, rates and batches of the recipes that are shipped, and is checked before it is
written: its keys, its networks, and what they cost, which is printed. recipe_tables.py --write lists it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]  # a checkout that is not installed works too

from recipe_tables import DATASETS, Dataset, name_of, read_recipe, table  # noqa: E402

BASE = ROOT / 'configs' / '_base_'
FOLDERS = {'tsn': 'baselines/tsn', 'tsm': 'baselines/tsm', 'glance-focus': 'glance_focus'}
CAUSAL = (
    'Reads a video frame by frame and answers after every frame: causal shift, supervised after every frame.'
)
LARGE = 'r50'  # whose clips of more than 8 frames go by eight to a GPU


class RecipeError(ValueError):
    """There is no such recipe; the message names what there is."""


def model_file(method: str, backbone: str) -> Path:
    """The base file of a method's networks.

    Raises:
        RecipeError: if there is none, with those there are.
    """
    prefix = 'glance_focus' if method == 'glance-focus' else 'tsm'  # TSN is TSM without its shift
    files = {
        file.stem.removeprefix(f'{prefix}_').replace('_', '-'): file
        for file in sorted((BASE / 'models').glob(f'{prefix}_*.py'))
    }
    files.pop('tiny')
    if backbone not in files:
        raise RecipeError(f'--backbone {backbone}: {method} has networks of {", ".join(files)}')
    return files[backbone]


def dataset_file(key: str) -> tuple[Path, Dataset]:
    for stem, dataset in DATASETS.items():
        if dataset.key == key:
            return BASE / 'datasets' / f'{stem}.py', dataset
    raise RecipeError(f'--dataset {key}: choose of {", ".join(known.key for known in DATASETS.values())}')


def schedule_file(method: str, backbone: str, kinetics: bool) -> Path:
    if method != 'glance-focus':
        name = 'sgd_50e_kinetics' if kinetics else 'sgd_50e'
    else:
        name = 'three_stages_sgd' if LARGE in backbone.split('-') else 'three_stages_sgd_mobile'
    return BASE / 'schedules' / f'{name}.py'


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """The keys of the config, beside those it inherits, in the order in which they are written."""
    from mmengine.config import Config

    focuses = args.method == 'glance-focus'
    file, dataset = dataset_file(args.dataset)
    base = Config.fromfile(model_file(args.method, args.backbone)).model
    asked = dict(num_classes=dataset.classes)
    if focuses:
        asked |= dict(glance_size=args.glance, patch_size=args.patch, steps=args.steps)
    else:
        asked |= dict(input_size=args.glance)
    model = {key: value for key, value in asked.items() if value is not None and value != base.get(key)}
    if args.shift == 'causal':
        model['supervision'] = 'frames'
    if args.shift != 'bidirectional':
        shift = dict(shift=args.shift)
        model |= dict(glance=shift, focus=shift) if focuses else dict(encoder=shift)
    kinetics = 'kinetics' in file.stem
    found: dict[str, Any] = dict(model=model)
    if focuses and kinetics:
        found['optim_wrapper'] = dict(optimizer=dict(weight_decay=1e-4))
    if focuses and args.backbone.startswith('efficientnet'):
        found['train_cfg'] = dict(max_epochs=30)
    if args.frames != 8:
        found['num_frames'] = args.frames
    if args.frames > 8 and LARGE in args.backbone.split('-'):
        found['train_dataloader'] = dict(batch_size=8)
    return {key: value for key, value in found.items() if value}


def recipe_text(args: argparse.Namespace, folder: Path) -> str:
    """The config, to lie in ``folder``."""
    file, _ = dataset_file(args.dataset)
    bases = (
        model_file(args.method, args.backbone),
        file,
        schedule_file(args.method, args.backbone, 'kinetics' in file.stem),
        BASE / 'default_runtime.py',
    )
    lines = [f'"""{CAUSAL}"""', ''] if args.shift == 'causal' else []
    lines += [
        '_base_ = [',
        *(f'    {Path(os.path.relpath(base, folder)).as_posix()!r},' for base in bases),
        ']',
    ]
    lines += [f'{key} = {written(value)}' for key, value in settings(args).items()]
    return '\n'.join(lines) + '\n'


def seen_from(folder: Path, base: Path) -> str:
    """A base file as a config in ``folder`` names it; from outside the repository by its whole path."""
    inside = folder.is_relative_to(ROOT)
    return Path(os.path.relpath(base, folder)).as_posix() if inside else base.as_posix()


def written(value: Any) -> str:
    if isinstance(value, dict):
        return f'dict({", ".join(f"{key}={written(item)}" for key, item in value.items())})'
    return '1e-4' if value == 1e-4 else repr(value)


def checked(args: argparse.Namespace) -> tuple[str, str]:
    """(the name that a recipe's content asks for, the rows of its table).

    Raises:
        ConfigError: if a key is unknown.
        ValueError: if its networks cannot be built, or a patch is larger than the frames.
    """
    from mmengine.registry import DefaultScope

    from gfvideo.engine import ConfigError, expand_stages, load_config
    from gfvideo.engine.config.keys import faults_of_keys

    with tempfile.TemporaryDirectory() as place, DefaultScope.overwrite_default_scope('gfvideo'):
        file = Path(place).resolve() / 'recipe.py'
        file.write_text(recipe_text(args, file.parent), encoding='utf-8')
        for stage in expand_stages(load_config(file)):
            for fault in faults_of_keys(stage.cfg.to_dict()):
                raise ConfigError(fault)
        recipe = read_recipe(file)
    _, _, height, width = recipe.shape
    if recipe.focus and recipe.focus.size > min(height, width):
        raise RecipeError(f'--patch {recipe.focus.size} is larger than the frames of {height}x{width}')
    name = name_of(recipe)
    return name, table([recipe._replace(path=f'{name}.py')])


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('method', choices=list(FOLDERS), help='what looks at the frames')
    parser.add_argument(
        '--backbone',
        required=True,
        metavar='NAME',
        help='as recipes are named: r50, mobilenetv2; of glance-focus that of both, or GLANCE-FOCUS',
    )
    parser.add_argument(
        '--dataset', required=True, metavar='KEY', help=', '.join(known.key for known in DATASETS.values())
    )
    parser.add_argument('--frames', type=int, default=8, metavar='T', help='frames of a clip (default: 8)')
    parser.add_argument(
        '--glance', type=int, metavar='G', help='pixels of the glance, or of the frames of tsn and tsm'
    )
    parser.add_argument('--patch', type=int, metavar='P', help='glance-focus: pixels of a patch')
    parser.add_argument('--steps', type=int, metavar='S', help='glance-focus: focus looks at a frame')
    parser.add_argument(
        '--shift', choices=['bidirectional', 'causal'], help='of channels in time (default: bidirectional)'
    )
    parser.add_argument(
        '--out',
        type=Path,
        metavar='PATH',
        help='FILE.py or a folder (default: that of the method in configs)',
    )
    args = parser.parse_args(arguments)
    for name in ('frames', 'glance', 'patch', 'steps'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f'--{name} {getattr(args, name)}: give a number of 1 or more')
    if args.method != 'glance-focus' and (args.patch or args.steps):
        parser.error(f'--patch and --steps are of glance-focus; {args.method} looks at whole frames')
    if args.method == 'tsn' and args.shift:
        parser.error('--shift: tsn reads each frame for itself; take tsm')
    args.shift = None if args.method == 'tsn' else args.shift or 'bidirectional'
    return args


def make(args: argparse.Namespace) -> tuple[Path, str]:
    """Write the recipe; return its file and the rows of its table.

    Raises:
        RecipeError: if there is no such recipe.
        FileExistsError: if the file is there already.
    """
    out = args.out or ROOT / 'configs' / FOLDERS[args.method]
    folder = (out.parent if out.suffix == '.py' else out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    name, rows = checked(args)
    file = folder / (out.name if out.suffix == '.py' else f'{name}.py')
    if file.exists():
        raise FileExistsError(f'{file} is there already')
    file.write_text(recipe_text(args, folder), encoding='utf-8')
    return file, rows


def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    try:
        file, rows = make(args)
    except (ValueError, OSError) as error:
        sys.exit(f'{type(error).__name__}: {error}')
    print(f'{rows}\n\n{file}')


if __name__ == '__main__':
    main()
