"""Recipes say in their names what is in them, and their tables and metafiles say what is measured."""

from __future__ import annotations

import importlib.util
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import mmengine
import pytest
import torch
from mmengine.optim import build_optim_wrapper

from gfvideo.complexity import count_multiply_adds, recognizer_cost
from gfvideo.engine import expand_stages
from gfvideo.engine import load_config as read_config
from gfvideo.models import Encoder
from gfvideo.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        'recipe_tables', ROOT / 'tools' / 'analysis_tools' / 'recipe_tables.py'
    )
    module = importlib.util.module_from_spec(spec)
    kept = list(sys.path)
    sys.modules[spec.name] = module  # cached functions look their module up
    spec.loader.exec_module(module)
    sys.path[:] = kept
    return module


tool, load_config = load_tool(), cache(read_config)
FILES = tool.recipe_files()
every_recipe = pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
FOLDERS = sorted({file.parent for file in FILES})


@pytest.fixture(autouse=True)
def beside_its_neighbour(monkeypatch):
    """The tool finds get_flops.py, which lies beside it, as it does when it is run."""
    monkeypatch.syspath_prepend(str(ROOT / 'tools' / 'analysis_tools'))


# ------------------------------------------------------------------------------------------------- one recipe


def name_of(recipe) -> str:
    """The file name that the content of a recipe asks for."""
    causal = '_causal' if recipe.shift == 'causal' else ''
    if recipe.focus:
        # once where they are the same
        backbones = '-'.join(dict.fromkeys((recipe.glance.backbone, recipe.focus.backbone)))
        return (
            f'glance-focus_{backbones}_g{recipe.glance.size}-p{recipe.focus.size}-s{recipe.steps}_{recipe.frames}f{causal}'
            f'_{recipe.dataset.key}'
        )
    size = f'_{recipe.model["input_size"]}' if recipe.model.get('input_size') else ''
    return (
        f'{recipe.method.lower()}_{recipe.glance.backbone}{size}_{recipe.frames}f{causal}'
        f'_{recipe.epochs[""]}e_{recipe.dataset.key}'
    )


@every_recipe
def test_the_name_says_what_is_inside(file):
    recipe = tool.read_recipe(file)
    assert file.stem == name_of(recipe)
    assert file.parent.name == dict(TSN='tsn', TSM='tsm').get(recipe.method, 'glance_focus')


@every_recipe
def test_frames_classes_and_pipelines_agree(file):
    recipe = tool.read_recipe(file)
    for stage in expand_stages(load_config(file)):
        assert stage.cfg.model.num_classes == recipe.dataset.classes
        for loader, test_mode in (
            ('train_dataloader', False),
            ('val_dataloader', True),
            ('test_dataloader', True),
        ):
            pipeline = stage.cfg[loader].dataset.pipeline
            sampler, *others = pipeline
            assert sampler.type == 'SampleFrames' and sampler.frames == recipe.frames
            assert (
                sampler.get('test_mode', False)
                == stage.cfg[loader].dataset.get('test_mode', False)
                == test_mode
            )
            assert [step.type for step in others][0] == 'DecodeFrames' and others[-1].type == 'PackClip'
            assert any(step.type == 'Flip' for step in others) != test_mode


@every_recipe
def test_mirrored_clips_keep_or_swap_their_class_by_name(file):
    cfg = expand_stages(load_config(file))[-1].cfg
    flips = [step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'Flip']
    wanted = {'ssv2': 'something-something-v2', 'jester': 'jester', 'k400': {}, 'minik-arnet': {}}
    dataset = tool.dataset_of(file).key
    assert len(flips) == 1 and (
        len(flips[0].label_map) == 3 if dataset == 'ssv1' else flips[0].label_map == wanted[dataset]
    )


@every_recipe
def test_rates_are_meant_for_a_known_batch(file):
    cfg = load_config(file)
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=cfg.auto_scale_lr.base_batch_size)
    kinetics = tool.dataset_of(file).key in ('k400', 'minik-arnet')
    static = cfg.model.type == 'ClipRecognizer'
    assert cfg.auto_scale_lr.base_batch_size == (128 if static and kinetics else 64)
    assert cfg.optim_wrapper.optimizer.weight_decay == (1e-4 if kinetics else 5e-4)
    assert cfg.optim_wrapper.clip_grad.max_norm == 20
    if static:
        assert cfg.optim_wrapper.optimizer.lr == (0.02 if kinetics else 0.01) and cfg.model.dropout == 0.5


@every_recipe
def test_causal_recipes_can_read_a_stream(file):
    model = load_config(file).model
    [shift] = {
        model[part].get('shift', 'bidirectional') for part in ('glance', 'focus', 'encoder') if part in model
    }
    assert (model.get('supervision', 'clip') == 'frames') == (shift == 'causal')
    assert 'policy' not in model or model.policy['scope'] == 'frame'


@every_recipe
def test_encoders_start_from_imagenet(file):
    model = load_config(file).model
    sources = [model[part].backbone.init_cfg for part in ('glance', 'focus', 'encoder') if part in model]
    assert all(source['type'] == 'Pretrained' and source['checkpoint'] for source in sources)


def depth(file: Path) -> int:
    return max((1 + depth(base) for base in tool.inherited(file)), default=0)


@every_recipe
def test_inheritance_is_shallow(file):
    assert 1 <= depth(file) <= 2
    assert all('_base_' in base.parts for base in tool.inherited(file))


# --------------------------------------------------------------------------------------------- rates by stage


@pytest.mark.parametrize(
    ('name', 'rates'),
    [
        ('glance-focus_mobilenetv2-r50_g224-p96-s1_8f_ssv2', [(0.01, 0.1), None, (0.01, 0.01)]),
        ('glance-focus_r50_g96-p96-s2_8f_jester', [(0.01, 0.1), None, (0.01, 0.01)]),
        ('glance-focus_mobilenetv3-large_g128-p128-s2_8f_ssv2', [(0.005, 0.1), None, (0.005, 0.01)]),
        ('glance-focus_efficientnet-b0_g128-p128-s3_8f_ssv2', [(0.005, 0.1), None, (0.005, 0.01)]),
    ],
)
def test_every_layer_learns_at_gfnets_rate(name, rates):
    cfg = load_config(ROOT / 'configs' / 'glance_focus' / f'{name}.py')
    for stage, wanted in zip(expand_stages(cfg), rates, strict=True):
        with torch.device('meta'):
            model = MODELS.build(tool.without_weights(stage.cfg.model.to_dict()))
        rate_of = {
            parameter: group['lr']
            for group in build_optim_wrapper(model, stage.cfg.optim_wrapper).optimizer.param_groups
            for parameter in group['params']
        }
        learning = {
            name: rate_of[parameter]
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        encoders = {rate for name, rate in learning.items() if re.match('(glance|focus)_encoder', name)}
        others = {rate for name, rate in learning.items() if not re.match('(glance|focus)_encoder', name)}
        if wanted is None:
            assert (encoders, others) == (set(), {3e-4}) and all(
                name.startswith('policy.') for name in learning
            )
        else:
            assert [round(rate, 9) for rate in (*encoders, *others)] == list(wanted)


# ---------------------------------------------------------------------------------------------- known numbers


def test_resnet50_reads_eight_frames_for_the_published_multiply_adds():
    recipe = tool.read_recipe(ROOT / 'configs' / 'baselines' / 'tsm' / 'tsm_r50_8f_50e_ssv2.py')
    measured = sum(tool.measure(recipe).steps)
    assert 32.7 <= round(measured / 1e9, 3) <= 32.9 and measured == 32_699_940_864


@pytest.mark.parametrize(
    ('backbone', 'size', 'published'),
    [
        (dict(type='ResNet', depth=50), 96, 0.751),
        (dict(type='ResNet', depth=50), 128, 1.335),
        (dict(type='MobileNetV2'), 224, 0.300),
    ],
)
def test_encoders_read_a_frame_for_the_published_multiply_adds(backbone, size, published):
    encoder = Encoder(backbone=backbone).eval()
    measured = count_multiply_adds(encoder, torch.zeros(1, 2, 3, size, size)) / 2e9
    assert measured == pytest.approx(published, rel=0.002)


def test_tensors_without_content_are_counted_as_real_ones():
    recipe = tool.read_recipe(
        ROOT / 'configs' / 'glance_focus' / 'glance-focus_mobilenetv2-r50_g224-p96-s1_8f_jester.py'
    )
    model = MODELS.build(tool.without_weights(recipe.model))
    cost = recognizer_cost(model, recipe.shape)
    assert tool.measure(recipe).steps == tuple(sum(step.values()) for step in cost['by_step'])
    assert tool.measure(recipe).parameters == sum(parameter.numel() for parameter in model.parameters())


# --------------------------------------------------------------------------------------- tables and metafiles


def test_tables_and_metafiles_say_what_is_measured():
    assert not tool.out_of_date(FILES), 'run tools/analysis_tools/recipe_tables.py --write'


@cache
def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    text = (folder / 'README.md').read_text(encoding='utf-8').partition(tool.BEGIN)[2].partition(tool.END)[0]
    rows = [[cell.strip() for cell in line.strip('| ').split('|')] for line in text.strip().splitlines()[2:]]
    return {re.match(r'\[(.+?)\]', row[0])[1]: dict(zip(tool.HEADER, row)) for row in rows}


@cache
def entries() -> list[dict]:
    index = mmengine.load(ROOT / 'model-index.yml')
    assert sorted(index['Import']) == sorted(
        f'{folder.relative_to(ROOT).as_posix()}/metafile.yml' for folder in FOLDERS
    )
    return [entry for metafile in index['Import'] for entry in mmengine.load(ROOT / metafile)['Models']]


def test_every_recipe_is_listed_once():
    listed = [entry['Config'] for entry in entries()]
    assert sorted(listed) == [file.relative_to(ROOT).as_posix() for file in FILES]
    assert len({entry['Name'] for entry in entries()}) == len(FILES)


@every_recipe
def test_the_metafile_agrees_with_config_and_table(file):
    recipe, row = tool.read_recipe(file), rows_of(file.parent)[file.stem]
    [entry] = [entry for entry in entries() if entry['Name'] == file.stem]
    metadata = entry['Metadata']
    assert metadata['Frames'] == recipe.frames == int(row['frames'])
    assert metadata['Batch size'] == recipe.batch
    assert (
        metadata['Training Data'] == recipe.dataset.title == row['dataset'] == entry['Results'][0]['Dataset']
    )
    assert (
        metadata['FLOPs'] == f'{row["GMACs all looks"]} GMACs'
        and metadata['Parameters'] == f'{row["params (M)"]} M'
    )
    assert sum(map(float, row['GMACs by step'].split('/'))) == pytest.approx(
        float(row['GMACs all looks']), abs=2e-3
    )
    assert row['GMACs by step'].count('/') == recipe.steps
    assert 'Weights' not in entry and 'Metrics' not in entry['Results'][0]
    assert ('Published' in entry) == ('published in' in row.get('published reference', ''))
    assert 'Published' not in entry or entry['Published']['source']


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda folder: folder.name)
def test_collections_and_links_lead_somewhere(folder):
    [collection] = mmengine.load(folder / 'metafile.yml')['Collections']
    assert ROOT / collection['README'] == folder / 'README.md'
    assert {entry['In Collection'] for entry in mmengine.load(folder / 'metafile.yml')['Models']} == {
        collection['Name']
    }
    page = (folder / 'README.md').read_text(encoding='utf-8')
    links = re.findall(r'\]\(([^)\s#]+)\)', page)
    assert links and all((folder / link).exists() for link in links if not link.startswith('http'))
    named = re.findall(r'`((?:glance-focus|ts[mn])_\w[\w-]*)`', page)
    assert all(any(file.stem.startswith(name) for file in FILES) for name in named)


def test_published_results_are_each_of_a_recipe():
    used = [tool.published(tool.read_recipe(file)) for file in FILES]
    assert all(sum(result is other for other in used) == 1 for result in tool.published_results())


# --------------------------------------------------------------------------------------------------- the tool


def test_check_finds_a_table_out_of_date(monkeypatch, capsys):
    one = ROOT / 'configs' / 'baselines' / 'tsn' / 'tsn_r50_8f_50e_ssv1.py'
    tool.main(['--check', str(one)])
    measure = tool.measure
    monkeypatch.setattr(tool, 'measure', lambda recipe: measure(recipe)._replace(parameters=24_900_000))
    with pytest.raises(
        SystemExit, match='configs/baselines/tsn/README.md, configs/baselines/tsn/metafile.yml'
    ):
        tool.main(['--check', str(one)])


def test_one_recipe_is_printed(capsys):
    tool.main([str(ROOT / 'configs' / 'baselines' / 'tsn' / 'tsn_r50_8f_50e_ssv1.py')])
    assert capsys.readouterr().out.splitlines()[2].startswith('| [tsn_r50_8f_50e_ssv1]')


def test_a_config_on_another_dataset_is_no_recipe():
    with pytest.raises(SystemExit, match='reads none of the datasets'):
        tool.main([str(ROOT / 'configs' / 'quickstart' / 'tsm_tiny_toy.py')])


@pytest.mark.parametrize(
    ('one', 'other', 'equal'),
    [
        ('32.700 | 2.45', '32.701 | 2.449', True),
        ('32.700', '32.9', False),
        ('8 frames', '9 frames', False),
        ('v1.25x', 'v1.251x', False),
    ],
)
def test_numbers_are_compared_to_three_digits(one, other, equal):
    assert (tool.to_three_digits(one) == tool.to_three_digits(other)) == equal


@pytest.mark.parametrize('page', ['no markers', f'{tool.END} {tool.BEGIN} {tool.BEGIN}'])
def test_a_page_without_one_pair_of_markers_is_refused(page):
    with pytest.raises(ValueError, match='needs one'):
        tool.with_table(page, 'rows')
