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


def load_tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / 'analysis_tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    kept = list(sys.path)
    sys.modules[spec.name] = module  # cached functions look their module up
    spec.loader.exec_module(module)
    sys.path[:] = kept
    return module


tool, maker, load_config = load_tool('recipe_tables'), load_tool('make_recipe'), cache(read_config)
FILES = tool.recipe_files()
every_recipe = pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
FOLDERS = sorted({file.parent for file in FILES})


@pytest.fixture(autouse=True)
def beside_its_neighbour(monkeypatch):
    """The tool finds get_flops.py, which lies beside it, as it does when it is run."""
    monkeypatch.syspath_prepend(str(ROOT / 'tools' / 'analysis_tools'))


# ------------------------------------------------------------------------------------------------- one recipe


@every_recipe
def test_the_name_says_what_is_inside(file):
    recipe = tool.read_recipe(file)
    assert file.stem == tool.name_of(recipe)
    folders = {'TSN': 'tsn', 'TSM': 'tsm', 'AdaFocus V2': 'adafocus', 'Uni-AdaFocus': 'adafocus'}
    assert file.parent.name == folders.get(recipe.method, 'glance_focus')


@every_recipe
def test_classes_and_frames_agree(file):
    recipe = tool.read_recipe(file)
    for stage in expand_stages(load_config(file)):
        assert stage.cfg.model.num_classes == recipe.dataset.classes
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            dataset = stage.cfg[loader].dataset
            frames = [step.frames for step in dataset.pipeline if step.type == 'SampleFrames']
            assert frames == [recipe.frames]
            mirrored = any(step.type == 'Flip' for step in dataset.pipeline)
            assert mirrored != dataset.get('test_mode', False)


@every_recipe
def test_causal_recipes_can_read_a_stream(file):
    model = load_config(file).model
    [shift] = {
        model[part].get('shift', 'bidirectional') for part in ('glance', 'focus', 'encoder') if part in model
    }
    assert (model.get('supervision', 'clip') == 'frames') == (shift == 'causal')
    assert model.type != 'GlanceFocusRecognizer' or model.policy['scope'] == 'frame'


# --------------------------------------------------------------------------------------------- rates by stage


@pytest.mark.parametrize(
    ('name', 'rates'),
    [
        ('glance-focus_mobilenetv2-r50_g224-p96-s1_8f_ssv2', [(0.01, 0.1), None, (0.01, 0.01)]),
        ('glance-focus_mobilenetv3-large_g128-p128-s2_8f_ssv2', [(0.005, 0.1), None, (0.005, 0.01)]),
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


@pytest.mark.parametrize(
    ('recipe', 'rate', 'policies', 'decay'),
    [
        ('adafocus_mobilenetv2-r50_g224-p128-s1_8-12f_ssv1', 0.01, 1e-4, 5e-4),
        ('adafocus_mobilenetv2-r50_g224-p128-s1_8-12f_ssv2', 0.01, 1e-4, 5e-4),
        ('adafocus_mobilenetv2-r50_g224-p128-s1_8-12f_jester', 0.01, 1e-4, 5e-4),
        ('uni-adafocus_mobilenetv2-r50_g224-p96-s1_8-8f_ssv1', 0.02, 4e-3, 1e-3),
        ('uni-adafocus_mobilenetv2-r50_g224-p128-s1_8-12f_ssv2', 0.02, 4e-3, 5e-4),
        ('uni-adafocus_mobilenetv2-r50_g224-p128-s1_8-12f_jester', 0.02, 4e-3, 1e-3),
    ],
)
def test_every_part_of_adafocus_learns_at_the_published_rate(recipe, rate, policies, decay):
    [stage] = expand_stages(load_config(ROOT / 'configs' / 'adafocus' / f'{recipe}.py'))
    cfg = stage.cfg
    with torch.device('meta'):
        model = MODELS.build(tool.without_weights(cfg.model.to_dict()))
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    group_of = {parameter: group for group in optimizer.param_groups for parameter in group['params']}
    found: dict[str, set[float]] = {}
    for name, parameter in model.named_parameters():
        part = name.split('.')[0] if not name.startswith('classifier') else '.'.join(name.split('.')[:2])
        found.setdefault(part, set()).add(round(group_of[parameter]['lr'], 9))
        assert group_of[parameter]['weight_decay'] == decay
    wanted = {
        'glance_encoder': rate / 2,
        'glance_head': rate / 2,
        'classifier.glance': rate / 2,
        'focus_encoder': rate,
        'focus_head': rate,
        'classifier.focus': rate,
        'policy': policies,
    }
    if recipe.startswith('uni'):
        wanted |= dict(window_head=rate / 2, frame_policy=policies)
    assert found == {part: {one} for part, one in wanted.items()}
    assert cfg.train_cfg.max_epochs == 50 and cfg.train_dataloader.drop_last
    assert cfg.model.get('loss_weights', {}) == (
        dict(window_size=0.25 if 'jester' in recipe else 0.5) if recipe.startswith('uni') else {}
    )
    assert all(step.get('prob') == 0 for step in cfg.train_dataloader.dataset.pipeline if step.type == 'Flip')


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


# ------------------------------------------------------------------------------------------ recipes on demand

# as they were shipped once
CAUSAL = """
_base_ = [
    'BASE/models/tsm_r50.py',
    'BASE/datasets/jester.py',
    'BASE/schedules/sgd_50e.py',
    'BASE/default_runtime.py',
]
model = dict(num_classes=27, supervision='frames', encoder=dict(shift='causal'))
_frames = dict(type='SampleFrames', frames=16, strategy='segment')
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=[_frames, *_base_.train_pipeline[1:]]))
val_dataloader = dict(dataset=dict(pipeline=[dict(_frames, test_mode=True), *_base_.test_pipeline[1:]]))
test_dataloader = val_dataloader
"""
FRAMES = """
_base_ = [
    'BASE/models/glance_focus_mobilenetv2_r50.py',
    'BASE/datasets/mini_kinetics_arnet.py',
    'BASE/schedules/three_stages_sgd.py',
    'BASE/default_runtime.py',
]
model = dict(num_classes=200, patch_size=96)
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
_frames = dict(type='SampleFrames', frames=12, strategy='segment')
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=[_frames, *_base_.train_pipeline[1:]]))
val_dataloader = dict(dataset=dict(pipeline=[dict(_frames, test_mode=True), *_base_.test_pipeline[1:]]))
test_dataloader = val_dataloader
"""
EPOCHS = """
_base_ = [
    'BASE/models/glance_focus_efficientnet_b0.py',
    'BASE/datasets/mini_kinetics_arnet.py',
    'BASE/schedules/three_stages_sgd_mobile.py',
    'BASE/default_runtime.py',
]
model = dict(num_classes=200)
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
train_cfg = dict(max_epochs=30)
"""


def make(tmp_path: Path, line: str) -> Path:
    maker.main([*line.split(), '--out', str(tmp_path)])
    [file] = tmp_path.glob('*.py')
    return file


def resolved(file: Path) -> list[tuple[str, dict]]:
    return [(stage.name, stage.cfg.to_dict()) for stage in expand_stages(read_config(file))]


@pytest.mark.parametrize(
    ('line', 'name', 'text'),
    [
        (
            'tsm --backbone r50 --dataset jester --frames 16 --shift causal',
            'tsm_r50_16f_causal_50e_jester',
            CAUSAL,
        ),
        (
            'glance-focus --backbone mobilenetv2-r50 --dataset minik-arnet --frames 12 --patch 96',
            'glance-focus_mobilenetv2-r50_g224-p96-s1_12f_minik-arnet',
            FRAMES,
        ),
        (
            'glance-focus --backbone efficientnet-b0 --dataset minik-arnet --glance 128 --steps 3',
            'glance-focus_efficientnet-b0_g128-p128-s3_8f_minik-arnet',
            EPOCHS,
        ),
    ],
)
def test_a_recipe_that_is_made_is_the_one_that_was_shipped(tmp_path, capsys, line, name, text):
    (tmp_path / 'made').mkdir()
    shipped = tmp_path / 'shipped.py'
    shipped.write_text(text.replace('BASE', (ROOT / 'configs' / '_base_').as_posix()))
    file = make(tmp_path / 'made', line)
    assert file.stem == name and resolved(file) == resolved(shipped)
    assert len(file.read_text().splitlines()) <= 12
    assert f'[{name}]' in capsys.readouterr().out


@pytest.mark.parametrize(
    'line',
    [
        'tsn --backbone r50 --dataset k400',
        'tsm --backbone mobilenetv2 --dataset ssv2',
        'glance-focus --backbone mobilenetv2-r50 --dataset ssv2 --shift causal',
        'glance-focus --backbone mobilenetv3-large --dataset k400',
    ],
)
def test_a_shipped_recipe_can_be_made_again_to_the_letter(line, capsys):
    args = maker.parse_args(line.split())
    folder = ROOT / 'configs' / maker.FOLDERS[args.method]
    with pytest.raises(SystemExit, match=r'FileExistsError: .*\.py is there already'):
        maker.main(line.split())
    texts = [file.read_text(encoding='utf-8') for file in folder.glob('*.py')]
    assert texts.count(maker.recipe_text(args, folder)) == 1


def test_a_made_recipe_can_be_counted(tmp_path, capsys):
    file = make(tmp_path, 'tsm --backbone mobilenetv2 --dataset k700 --glance 96 --frames 2')
    assert file.stem == 'tsm_mobilenetv2_96_2f_50e_k700'
    load_tool('get_flops').main([str(file)])
    # the frames of the pipeline are of 224 pixels; the network makes 96 of them
    assert 'one view of 2 frames of 224x224' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('line', 'told'),
    [
        ('tsm --backbone r18 --dataset ssv2', '--backbone r18: tsm has networks of mobilenetv2, r50'),
        ('glance-focus --backbone r50 --dataset toy', '--dataset toy: choose of ssv1, ssv2, jester'),
        (
            'glance-focus --backbone r50 --dataset ssv2 --patch 256',
            '--patch 256 is larger than the frames of 224',
        ),
    ],
)
def test_what_cannot_be_made_is_told(tmp_path, line, told):
    with pytest.raises(SystemExit, match=told):
        make(tmp_path, line)
    assert not list(tmp_path.glob('*.py'))


@pytest.mark.parametrize(
    ('line', 'told'),
    [
        ('tsm --backbone r50 --dataset ssv2 --steps 2', 'tsm looks at whole frames'),
        ('tsn --backbone r50 --dataset ssv2 --shift causal', 'tsn reads each frame for itself'),
        ('tsm --backbone r50 --dataset ssv2 --frames 0', '--frames 0: give a number of 1 or more'),
    ],
)
def test_flags_that_mean_nothing_are_refused(capsys, line, told):
    with pytest.raises(SystemExit):
        maker.main(line.split())
    assert told in capsys.readouterr().err


# --------------------------------------------------------------------------------------- tables and metafiles


def test_tables_and_metafiles_say_what_is_measured():
    assert not tool.out_of_date(FILES), 'run tools/analysis_tools/recipe_tables.py --write'


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
    named = re.findall(r'`((?:glance-focus|(?:uni-)?adafocus|ts[mn])_\w[\w-]*)`', page)
    assert all(any(file.stem.startswith(name) for file in FILES) for name in named)


def test_published_results_are_each_of_a_recipe():
    used = [tool.published(tool.read_recipe(file)) for file in FILES]
    assert all(sum(result is other for other in used) == 1 for result in tool.published_results())


# --------------------------------------------------------------------------------------------------- the tool


def test_check_finds_a_table_out_of_date(monkeypatch, capsys):
    one = ROOT / 'configs' / 'baselines' / 'tsn' / 'tsn_r50_8f_50e_ssv2.py'
    tool.main(['--check', str(one)])
    measure = tool.measure
    monkeypatch.setattr(tool, 'measure', lambda recipe: measure(recipe)._replace(parameters=24_900_000))
    with pytest.raises(
        SystemExit, match='configs/baselines/tsn/README.md, configs/baselines/tsn/metafile.yml'
    ):
        tool.main(['--check', str(one)])


def test_one_recipe_is_printed(capsys):
    tool.main([str(ROOT / 'configs' / 'baselines' / 'tsn' / 'tsn_r50_8f_50e_ssv2.py')])
    assert capsys.readouterr().out.splitlines()[2].startswith('| [tsn_r50_8f_50e_ssv2]')


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
