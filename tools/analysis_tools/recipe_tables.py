#!/usr/bin/env python
"""Measure what every recipe costs, and keep the tables of recipes and the metafiles true.

    python tools/analysis_tools/recipe_tables.py                    # print the tables
    # write them into the READMEs, and the metafiles beside them
    python tools/analysis_tools/recipe_tables.py --write
    # exit with 1 and name the files that are out of date
    python tools/analysis_tools/recipe_tables.py --check
    # one recipe alone
    python tools/analysis_tools/recipe_tables.py configs/baselines/tsm/tsm_r50_8f_50e_ssv2.py

A recipe is a config on one of the public datasets. Its multiply-adds are counted by gfvideo.complexity for
one view of one clip, with the frames, sizes and steps of its own test, on tensors without content: nothing is
downloaded, and a network is counted in a fraction of a second. Published accuracies come from
configs/published.yml and stand where they are of the very same thing; none of ours is printed.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import mmengine

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]  # a checkout that is not installed works too

BEGIN, END = '<!-- recipes: begin -->', '<!-- recipes: end -->'
HEADER = (
    'config',
    'dataset',
    'frames',
    'glance',
    'patch x steps',
    'shift',
    'params (M)',
    'GMACs all looks',
    'GMACs by step',
    'published reference',
)
PUBLISHED = ROOT / 'configs' / 'published.yml'


class Dataset(NamedTuple):
    """A public dataset: what file names call it, its name, and its number of classes."""

    key: str
    title: str
    classes: int


DATASETS = {  # by the file in configs/_base_/datasets
    'something_something_v1': Dataset('ssv1', 'Something-Something V1', 174),
    'something_something_v2': Dataset('ssv2', 'Something-Something V2', 174),
    'jester': Dataset('jester', 'Jester', 27),
    'kinetics400': Dataset('k400', 'Kinetics-400', 400),
    'kinetics600': Dataset('k600', 'Kinetics-600', 600),
    'kinetics700': Dataset('k700', 'Kinetics-700', 700),
    'kinetics700_2020': Dataset('k700-2020', 'Kinetics-700-2020', 700),
    'mini_kinetics_arnet': Dataset('minik-arnet', 'Mini-Kinetics (AR-Net)', 200),
    'mini_kinetics_s3d': Dataset('minik-s3d', 'Mini-Kinetics (S3D)', 200),
    'ucf101': Dataset('ucf101', 'UCF101', 101),
    'hmdb51': Dataset('hmdb51', 'HMDB51', 51),
    'diving48': Dataset('diving48', 'Diving48', 48),
    'activitynet': Dataset('activitynet', 'ActivityNet-1.3', 200),
    'fcvid': Dataset('fcvid', 'FCVID', 239),
    'wlasl': Dataset('wlasl', 'WLASL', 2000),
    'epic_kitchens_verb': Dataset('epic-verb', 'EPIC-KITCHENS-100, verbs', 97),
    'imagenet': Dataset('imagenet', 'ImageNet', 1000),
    'epic_kitchens_noun': Dataset('epic-noun', 'EPIC-KITCHENS-100, nouns', 300),
}

COLLECTIONS = {  # by the folder below configs
    'baselines/tsn': dict(
        Name='TSN',
        URL='https://arxiv.org/abs/1608.00859',
        Title='Temporal Segment Networks: Towards Good Practices for Deep Action Recognition',
    ),
    'baselines/tsm': dict(
        Name='TSM',
        URL='https://arxiv.org/abs/1811.08383',
        Title='TSM: Temporal Shift Module for Efficient Video Understanding',
    ),
    'glance_focus': dict(
        Name='Glance-and-Focus',
        URL='https://arxiv.org/abs/2201.03014',
        Title='Glance and Focus Networks for Dynamic Visual Recognition',
    ),
    'adafocus': dict(
        Name='AdaFocus',
        URL='https://arxiv.org/abs/2112.14238',
        Title='AdaFocus V2: End-to-End Training of Spatial Dynamic Networks for Video Recognition',
    ),
}
# what file names call a method that has a word of its own for it
METHODS = {'AdaFocus V2': 'adafocus', 'Uni-AdaFocus': 'uni-adafocus', 'Glance-and-Focus': 'glance-focus'}


# ------------------------------------------------------------------------------------------- what a recipe is


class Look(NamedTuple):
    """What looks at the frames: the backbone as file names call it, its proper name, and the height and width
    it reads in pixels."""

    backbone: str
    title: str
    size: int


class Recipe(NamedTuple):
    """A config on a public dataset, described by its content.

    Attributes:
        path: relative to the repository.
        focus: None for a static recognizer.
        steps: S, 0 for a static recognizer.
        epochs: by stage; the stage of a static recognizer is called ''.
        batch: clips that the learning rates are meant for.
        shape: (T, 3, H, W) of what the test pipeline makes.
    """

    path: str
    dataset: Dataset
    shift: str | None
    glance: Look
    focus: Look | None
    steps: int
    epochs: dict[str, int]
    batch: int
    model: dict[str, Any]
    shape: tuple[int, int, int, int]

    @property
    def frames(self) -> int:
        return self.shape[0]

    @property
    def looked_at(self) -> int | str:
        """Frames that are read; of AdaFocus '8+12', glanced at and focused on, of ``frames`` candidates."""
        if 'glance_frames' not in self.model:
            return self.frames
        return f'{self.model["glance_frames"]}+{self.model.get("focus_frames") or self.frames}'

    @property
    def method(self) -> str:
        if self.model['type'] == 'AdaFocusRecognizer':
            return 'Uni-AdaFocus' if self.model.get('frame_policy') else 'AdaFocus V2'
        return 'Glance-and-Focus' if self.focus else 'TSM' if self.shift else 'TSN'


def inherited(config: Path) -> list[Path]:
    """The files that a config names in ``_base_``."""
    for node in ast.parse(config.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == '_base_' for target in node.targets
        ):
            bases = ast.literal_eval(node.value)
            return [
                (config.parent / base).resolve() for base in ([bases] if isinstance(bases, str) else bases)
            ]
    return []


def dataset_of(config: Path) -> Dataset | None:
    """The public dataset that a config reads, None if it reads none."""
    for base in inherited(config):
        found = DATASETS.get(base.stem) if base.parent.name == 'datasets' else dataset_of(base)
        if found:
            return found
    return None


def recipe_files() -> list[Path]:
    """All recipes of the repository."""
    files = (file for folder in COLLECTIONS for file in (ROOT / 'configs' / folder).glob('*.py'))
    return sorted(file for file in files if dataset_of(file))


def look_of(encoder: dict[str, Any], size: Any) -> Look:
    backbone = dict(encoder['backbone'])
    kind = backbone['type']
    if kind == 'ResNet':
        names = f'r{backbone["depth"]}', f'ResNet-{backbone["depth"]}'
    elif kind == 'MobileNetV3':
        names = f'mobilenetv3-{backbone["size"]}', f'MobileNetV3-{backbone["size"].capitalize()}'
    elif kind == 'EfficientNet':
        names = f'efficientnet-{backbone["variant"]}', f'EfficientNet-{backbone["variant"].upper()}'
    else:
        names = kind.lower(), kind
    return Look(*names, size)


def _steps_of(model: dict[str, Any]) -> int:
    if model['type'] == 'AdaFocusRecognizer':
        return 1
    return model.get('steps', 2) if 'focus' in model else 0


@cache
def read_recipe(config: Path) -> Recipe:
    """Describe a config by its content.

    Raises:
        ValueError: if it is on none of the public datasets.
    """
    from get_flops import shape_of_views

    from gfvideo.engine import expand_stages, load_config

    dataset = dataset_of(config)
    if dataset is None:
        raise ValueError(
            f'{config} reads none of the datasets that recipes are for:'
            f' {", ".join(known.key for known in DATASETS.values())}'
        )
    stages = expand_stages(load_config(config))
    cfg = stages[-1].cfg
    frames, height, width = shape_of_views(cfg)
    model = cfg.model.to_dict()
    focuses = 'focus' in model
    glance = model['glance' if focuses else 'encoder']
    return Recipe(
        (config.relative_to(ROOT) if config.is_relative_to(ROOT) else config).as_posix(),
        dataset,
        glance.get('shift', 'bidirectional'),
        look_of(glance, model.get('glance_size') or model.get('input_size') or height),
        look_of(model['focus'], model['patch_size']) if focuses else None,
        _steps_of(model),
        {stage.name: stage.cfg.train_cfg.max_epochs for stage in stages},
        cfg.auto_scale_lr.base_batch_size,
        model,
        (frames, 3, height, width),
    )


def name_of(recipe: Recipe) -> str:
    """The file name that the content of a recipe asks for."""
    causal = '_causal' if recipe.shift == 'causal' else ''
    if recipe.focus:
        # once where they are the same
        backbones = '-'.join(dict.fromkeys((recipe.glance.backbone, recipe.focus.backbone)))
        looks = f'g{recipe.glance.size}-p{recipe.focus.size}-s{recipe.steps}'
        frames = str(recipe.looked_at).replace('+', '-')
        policy = '_value-map' if recipe.model['policy']['type'] == 'ValueMapPolicy' else ''
        return f'{METHODS[recipe.method]}_{backbones}_{looks}_{frames}f{causal}{policy}_{recipe.dataset.key}'
    size = f'_{recipe.model["input_size"]}' if recipe.model.get('input_size') else ''
    return (
        f'{recipe.method.lower()}_{recipe.glance.backbone}{size}_{recipe.frames}f{causal}'
        f'_{recipe.epochs[""]}e_{recipe.dataset.key}'
    )


# ---------------------------------------------------------------------------------------------- what it costs


class Cost(NamedTuple):
    """Multiply-adds of every step alone, and the number of parameters."""

    steps: tuple[int, ...]
    parameters: int


def without_weights(model: Any) -> Any:
    """A model config without the pretrained weights it would load."""
    if isinstance(model, dict):
        return {key: without_weights(value) for key, value in model.items() if key != 'init_cfg'}
    return [without_weights(value) for value in model] if isinstance(model, list | tuple) else model


def measure(recipe: Recipe) -> Cost:
    """Count a recipe's network, once for all recipes that share it."""
    return _count(json.dumps(without_weights(recipe.model), sort_keys=True), recipe.shape)


@cache
def _count(model_text: str, shape: tuple[int, int, int, int]) -> Cost:
    import torch

    from gfvideo.complexity import recognizer_cost
    from gfvideo.registry import MODELS

    with torch.device('meta'):  # shapes without content
        model = MODELS.build(json.loads(model_text))
    cost = recognizer_cost(model, shape)
    return Cost(
        tuple(sum(step.values()) for step in cost['by_step']),
        sum(parameter.numel() for parameter in model.parameters()),
    )


# --------------------------------------------------------------------------------------- tables and metafiles


def giga(multiply_adds: int) -> str:
    return f'{multiply_adds / 1e9:.3f}'


def mega(parameters: int) -> str:
    return f'{parameters / 1e6:.2f}'


@cache
def published_results() -> list[dict[str, Any]]:
    return mmengine.load(PUBLISHED)


def published(recipe: Recipe) -> dict[str, Any] | None:
    """The published result of the very same thing, if there is one."""
    same = dict(
        method=recipe.method,
        backbone=' and '.join(dict.fromkeys(look.title for look in (recipe.glance, recipe.focus) if look)),
        frames=recipe.looked_at,
        size=recipe.glance.size,
        shift=recipe.shift,
        dataset=recipe.dataset.title,
    )
    if recipe.focus:
        same['patch'] = recipe.focus.size
    return next((result for result in published_results() if result['of'] == same), None)


def row(recipe: Recipe) -> list[str]:
    cost, reference, path = measure(recipe), published(recipe), Path(recipe.path)
    looked = (
        f'{reference["top-1"]:.1f} % top-1 at {reference["GMACs"]} GMACs, published in {reference["source"]}'
        if reference
        else ''
    )
    return [
        f'[{path.stem}]({path.name})',
        recipe.dataset.title,
        str(recipe.looked_at),
        f'{recipe.glance.title}, {recipe.glance.size}',
        f'{recipe.focus.title}, {recipe.focus.size} x {recipe.steps}' if recipe.focus else '',
        recipe.shift or 'none',
        mega(cost.parameters),
        giga(sum(cost.steps)),
        ' / '.join(map(giga, cost.steps)),
        looked,
    ]


def in_order(recipes: Iterable[Recipe]) -> list[Recipe]:
    """By dataset; then those that share their networks side by side, from cheap to dear."""
    keys = [dataset.key for dataset in DATASETS.values()]
    return sorted(
        recipes,
        key=lambda recipe: (
            keys.index(recipe.dataset.key),
            recipe.shift == 'causal',
            recipe.glance.title,
            recipe.focus.title if recipe.focus else '',
            sum(measure(recipe).steps),
            recipe.path,
        ),
    )


def table(recipes: Iterable[Recipe]) -> str:
    lines = [
        '| ' + ' | '.join(cells) + ' |'
        for cells in (HEADER, ['---'] * len(HEADER), *map(row, in_order(recipes)))
    ]
    return '\n'.join(re.sub(r'\|  (?=\|)', '| ', line) for line in lines)


def metafile(folder: str, recipes: Iterable[Recipe]) -> dict[str, Any]:
    """The index of a folder in the form that OpenMMLab's tools read."""
    paper = dict(COLLECTIONS[folder])
    name = paper.pop('Name')
    collection = dict(Name=name, README=f'configs/{folder}/README.md', Paper=paper)
    return dict(Collections=[collection], Models=[model_entry(recipe, name) for recipe in in_order(recipes)])


def model_entry(recipe: Recipe, collection: str) -> dict[str, Any]:
    cost, reference = measure(recipe), published(recipe)
    architecture = list(dict.fromkeys(look.title for look in (recipe.glance, recipe.focus) if look))
    epochs = recipe.epochs[''] if '' in recipe.epochs else recipe.epochs
    metadata = {
        'Architecture': architecture,
        'Frames': recipe.looked_at,
        'Batch size': recipe.batch,
        'Epochs': epochs,
        'Training Data': recipe.dataset.title,
        'FLOPs': f'{giga(sum(cost.steps))} GMACs',
        'Parameters': f'{mega(cost.parameters)} M',
    }
    entry = {
        'Name': Path(recipe.path).stem,
        'Config': recipe.path,
        'In Collection': collection,
        'Metadata': metadata,
        'Results': [{'Task': 'Action Recognition', 'Dataset': recipe.dataset.title}],
    }
    if reference:
        entry['Published'] = {key: reference[key] for key in ('top-1', 'GMACs', 'source')}
    return entry


def metafile_text(content: dict[str, Any]) -> str:
    return (
        '# Written by tools/analysis_tools/recipe_tables.py --write. FLOPs are multiply-adds, counted on the'
        ' network that runs;\n# accuracies are those of the publication that is named. None was measured'
        ' here, and no weights are published.\n'
        + mmengine.dump(content, file_format='yaml', sort_keys=False, width=140, allow_unicode=True)
    )


def with_table(readme: str, rows: str) -> str:
    """A README with the table between its markers replaced.

    Raises:
        ValueError: if it has not one pair of markers.
    """
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError(f'a README of recipes needs one {BEGIN} and one {END}')
    head, tail = readme.partition(BEGIN)[0], readme.partition(END)[2]
    return f'{head}{BEGIN}\n{rows}\n{END}{tail}'


def to_three_digits(text: str) -> str:
    """Text in which measured numbers that agree to three digits are equal."""
    return re.sub(r'(?<![\w.])\d+\.\d+(?![\w.])', lambda number: f'{float(number[0]):.3g}', text)


def pages(files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """(file, what should be in it) of the folders that hold the recipes ``files``."""
    for folder in COLLECTIONS:
        recipes = [read_recipe(file) for file in recipe_files() if file.parent == ROOT / 'configs' / folder]
        if any(ROOT / recipe.path in files for recipe in recipes):
            readme = ROOT / 'configs' / folder / 'README.md'
            yield readme, with_table(readme.read_text(encoding='utf-8'), table(recipes))
            yield readme.with_name('metafile.yml'), metafile_text(metafile(folder, recipes))


def out_of_date(files: Sequence[Path]) -> list[Path]:
    """READMEs and metafiles that do not say what is measured, to three digits."""
    return [
        file
        for file, wanted in pages(files)
        if not file.is_file() or to_three_digits(file.read_text(encoding='utf-8')) != to_three_digits(wanted)
    ]


# ----------------------------------------------------------------------------------------------- command line


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument(
        'configs',
        nargs='*',
        type=Path,
        help='recipes (default: all); --write and --check take the whole folders that they are in',
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        '--write', action='store_true', help='write the tables into the READMEs, and the metafiles'
    )
    action.add_argument(
        '--check', action='store_true', help='exit with 1 if a README or metafile is out of date'
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    try:
        files = [path.resolve() for path in args.configs] or recipe_files()
        recipes = [read_recipe(file) for file in files]
        if args.write:
            for file, text in pages(files):
                file.write_text(text, encoding='utf-8')
                print(file.relative_to(ROOT))
        elif args.check:
            if stale := out_of_date(files):
                sys.exit(
                    'out of date, run tools/analysis_tools/recipe_tables.py --write: '
                    + ', '.join(str(file.relative_to(ROOT)) for file in stale)
                )
        else:
            print(table(recipes))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
