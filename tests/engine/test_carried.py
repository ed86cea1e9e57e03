"""A config that a file carries runs nothing: it is data, and every part it names is registered here
already."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.registry import DefaultScope

from gfvideo.apis import inference_recognizer, init_recognizer
from gfvideo.engine import ConfigError, expand_stages, load_config
from gfvideo.engine.config import carried_config, check_carried, parse_config
from gfvideo.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
TRAP = """
from pathlib import Path
Path({mark!r}).touch()                                            # being imported is enough
def spring(*args, **kwargs):
    Path({mark!r}).touch()
"""


@pytest.fixture(scope='module')
def trap(tmp_path_factory):
    """Modules ``trap_for_tests`` and ``scoped_trap.registry`` can be imported; ``trap()`` says whether either
    ever was."""
    folder = tmp_path_factory.mktemp('trap')
    mark = folder / 'sprung'
    (folder / 'scoped_trap').mkdir()
    for file in ('trap_for_tests.py', 'scoped_trap/__init__.py', 'scoped_trap/registry.py'):
        (folder / file).write_text(TRAP.format(mark=str(mark)))
    sys.path.insert(0, str(folder))
    yield mark.exists
    sys.path.remove(str(folder))
    for name in ('trap_for_tests', 'scoped_trap', 'scoped_trap.registry'):
        sys.modules.pop(name, None)


def encoder():
    return dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4)


def whole_config():
    """A config as a training run of ours leaves it."""
    pipeline = [
        dict(type='SampleFrames', frames=2, test_mode=True),
        dict(type='DecodeFrames'),
        dict(type='Resize', size=(24, 32)),
        dict(type='PackClip'),
    ]
    loader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
        dataset=dict(type='ClipDataset', root='nowhere', split='val', pipeline=pipeline, test_mode=True),
    )
    return json.loads(
        json.dumps(
            dict(  # nothing in it is shared
                default_scope='gfvideo',
                model=dict(
                    type='GlanceFocusRecognizer',
                    num_classes=3,
                    glance=encoder(),
                    focus=encoder(),
                    glance_size=16,
                    patch_size=16,
                    steps=1,
                    policy=dict(type='RecurrentGaussianPolicy', hidden=8),
                    classifier=dict(type='RecurrentClassifier', hidden=16),
                    data_preprocessor=dict(type='ClipPreprocessor'),
                ),
                train_dataloader=dict(
                    loader, dataset=dict(type='RepeatDataset', times=2, dataset=loader['dataset'])
                ),
                test_dataloader=loader,
                test_cfg=dict(type='TestLoop'),
                test_evaluator=[dict(type='ClipAccuracy')],
                train_cfg=dict(type='ResumableEpochLoop', max_epochs=1),
                optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)),
                param_scheduler=[dict(type='WarmupLR', by_epoch=False), dict(type='CosineAnnealingLR')],
                default_hooks=dict(
                    checkpoint=dict(type='SafeCheckpointHook'), logger=dict(type='LoggerHook')
                ),
                visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
            )
        )
    )


def save(path, cfg, **meta):
    """A checkpoint that carries ``cfg``, with the weights of the harmless config."""
    model = MODELS.build(whole_config()['model'])
    torch.save(dict(state_dict=model.state_dict(), meta=dict(cfg=Config(cfg).pretty_text, **meta)), path)
    return path


def places(value, path=()):
    """Paths of all dicts and lists in nested values."""
    if isinstance(value, (dict, list)):
        yield path
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


HOSTILE = st.one_of(
    st.sampled_from(
        [
            'trap_for_tests.spring',
            'trap_for_tests',
            'scoped_trap.Thing',
            'subprocess.check_output',
            'builtins.eval',
            'os.system',
            'mmengine.Config.fromfile',
            'mmengine.ConcatDataset',
            'torch.nn.Linear',
            'gfvideo.models.glance_focus.GlanceFocusRecognizer',
            'gfvideo.GlanceFocusRecognizer',
            '',
            ' ',
            'TinyCNN ',
            'trap_for_tests:spring',
            'DumpResultss',
        ]
    ),
    st.text(max_size=12).filter(lambda name: name not in MODELS.module_dict),
    st.none(),
    st.integers(),
    st.lists(st.just('trap_for_tests.spring'), max_size=2),
)


@given(data=st.data())
def test_a_hostile_type_anywhere_is_refused_by_its_path(data, trap):
    cfg = whole_config()
    place = data.draw(st.sampled_from(list(places(cfg))), 'place')
    name = data.draw(HOSTILE, 'name')
    what = dict(type=name, args=['true'])
    depth = data.draw(st.integers(0, 4), 'depth')
    path = ('type',)
    for level in range(depth):  # wrapped in dicts and lists
        what, path = ([what], (0, *path)) if level % 2 else (dict(inner=what), ('inner', *path))
    target = at(cfg, place)
    if isinstance(target, list):
        target.append(what)
        path = (*place, len(target) - 1, *path)
    else:
        target['extra'] = what
        path = (*place, 'extra', *path)
    with pytest.raises(ConfigError) as caught:
        check_carried(cfg, 'FILE')
    assert str(caught.value).startswith(f'FILE names {".".join(map(str, path))}={name!r}')
    assert not trap()


@given(data=st.data())
def test_no_type_of_the_config_may_be_replaced_by_another_kind_of_part(data, trap):
    """A hook where a model belongs would be looked up, not found, and imported as a module of that name."""
    cfg = whole_config()
    place = data.draw(
        st.sampled_from([path for path in places(cfg['model']) if 'type' in at(cfg['model'], path)]), 'place'
    )
    at(cfg['model'], place)['type'] = name = data.draw(
        st.sampled_from(['DumpResults', 'LoggerHook', 'AdamW', 'ConcatDataset'])
    )
    with pytest.raises(ConfigError, match=f'={name!r}, which is not registered'):
        check_carried(cfg, 'FILE')


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda cfg: cfg['model'].update(_scope_='scoped_trap'), "model._scope_='scoped_trap'"),
        (lambda cfg: cfg.update(_scope_='scoped_trap'), "_scope_='scoped_trap'"),
        (
            lambda cfg: cfg['model'].update(custom_imports=dict(imports=['trap_for_tests'])),
            'model.custom_imports=',
        ),
        (
            lambda cfg: cfg['model']['glance'].update(
                backbone=dict(type='TimmBackbone', name='hf-hub:some/thing')
            ),
            'no name of timm',
        ),
        (
            lambda cfg: cfg['model']['glance'].update(
                backbone=dict(type='TimmBackbone', name='vit', checkpoint_path='a.pth')
            ),
            "checkpoint_path='a.pth', which makes timm read other files",
        ),
    ],
)
def test_other_ways_to_import_or_fetch_are_refused(tmp_path, trap, change, message):
    cfg = whole_config()
    change(cfg)
    with pytest.raises(ConfigError, match=message):
        init_recognizer(checkpoint=save(tmp_path / 'evil.pth', cfg))
    assert not trap()


@pytest.mark.parametrize(
    'path',
    [
        ('model',),
        ('model', 'policy'),
        ('model', 'glance', 'backbone'),
        ('model', 'data_preprocessor'),
        ('test_dataloader', 'dataset', 'pipeline', 1),
        ('test_dataloader', 'sampler'),
        ('test_dataloader', 'collate_fn'),
        ('default_hooks', 'logger'),
        ('optim_wrapper', 'optimizer'),
    ],
)
def test_a_checkpoint_that_names_a_program_runs_none(tmp_path, trap, path):
    cfg = whole_config()
    at(cfg, path)['type'] = 'trap_for_tests.spring'
    file = save(tmp_path / 'evil.pth', cfg)
    with pytest.raises(
        ConfigError,
        match=rf"evil.pth names {'.'.join(map(str, path))}.type='trap_for_tests.spring'.*custom_imports",
    ):
        inference_recognizer(init_recognizer(checkpoint=file), 'video.mp4')
    assert not trap()


@pytest.mark.slow
def test_the_tools_run_none_either(tmp_path, trap):
    """In a process of its own, as a user does, from the folder of the hostile file."""
    cfg = whole_config()
    cfg['model']['policy'] = dict(type='subprocess.check_output', args=['touch', str(tmp_path / 'ran')])
    save(tmp_path / 'evil.pth', cfg)
    for command in (
        ['tools/convert_checkpoint.py', 'evil.pth', 'out.pth', '--to', 'tsm'],
        ['tools/deployment/export_onnx.py', 'evil.pth', 'out'],
    ):
        done = subprocess.run(
            [sys.executable, str(ROOT / command[0]), *command[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode and 'Traceback' not in done.stderr
        assert (
            "model.policy.type='subprocess.check_output'" in done.stderr and not (tmp_path / 'ran').exists()
        )


def test_the_text_that_mmengine_runs_on_resuming_is_not_handed_to_it(tmp_path, train, trap):
    train(tmp_path / 'run', '--stage', 'random')
    file = tmp_path / 'run' / 'random' / 'epoch_2.pth'
    content = torch.load(file, weights_only=True)
    content['meta']['config'] = 'import trap_for_tests'
    torch.save(content, tmp_path / 'evil.pth')
    train(tmp_path / 'again', '--resume', str(tmp_path / 'evil.pth'), '--stage', 'random')
    assert not trap() and 'trap_for_tests' not in sys.modules


def test_parts_of_the_users_own_are_imported_when_the_user_says_so(tmp_path, monkeypatch):
    (tmp_path / 'my_policies_for_tests.py').write_text("""
from gfvideo.models.backbones import TinyCNN
from gfvideo.registry import MODELS

@MODELS.register_module()
class MyOwnBackboneForTests(TinyCNN):
    pass
""")
    monkeypatch.syspath_prepend(str(tmp_path))
    cfg = whole_config()
    cfg['custom_imports'] = dict(imports=['my_policies_for_tests'])  # of the training run's config file
    cfg['model']['glance']['backbone']['type'] = 'MyOwnBackboneForTests'
    file = save(tmp_path / 'own.pth', cfg)
    refused = (
        r"MyOwnBackboneForTests', which is not registered .*\(its training run imported"
        r' .*my_policies_for_tests'
    )
    with pytest.raises(ConfigError, match=refused):
        init_recognizer(checkpoint=file)
    assert 'my_policies_for_tests' not in sys.modules
    with pytest.raises(ConfigError, match="'no_such_module' cannot be imported"):
        init_recognizer(checkpoint=file, custom_imports='no_such_module')
    model = init_recognizer(checkpoint=file, custom_imports=['my_policies_for_tests'])
    assert type(model.glance_encoder.backbone).__name__ == 'MyOwnBackboneForTests'


@given(
    text=st.one_of(
        st.text(),
        st.recursive(
            st.sampled_from(
                [
                    '1',
                    '-2.5',
                    '"x"',
                    'None',
                    'inf',
                    'print()',
                    'x',
                    '[]',
                    'dict()',
                    '__import__("os")',
                    '{**{}}',
                ]
            ),
            lambda inner: st.one_of(
                st.lists(inner).map(lambda items: f'[{", ".join(items)}]'),
                st.tuples(inner, inner).map(lambda pair: f'{{{pair[0]}: {pair[1]}}}'),
                inner.map(lambda value: f'{{{value}}}'),
                inner.map(lambda value: f'dict({value})'),
                inner.map(lambda value: f'dict(filename={value})'),
            ),
        ).map(lambda value: f'model = {value}'),
    )
)
def test_any_text_is_a_config_or_refused(text):
    try:
        parse_config(text)
    except ValueError:
        pass


@pytest.mark.parametrize(
    'text',
    [
        'a = {[]: 1}',
        'a = {dict()}',
        'a = dict(1)',
        'filename = "x"',
        'text = 1',
        'a = ' + '[' * 150 + ']' * 150,
        'a = ' + '[' * 5000,
        'a = ' + '-' * 5000 + '1',
        'a = 1' + '0' * 5000,
        'a = "\0"',
        '\0',
    ],
)
def test_odd_texts_end_with_a_line(text):
    try:
        parse_config(text)
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize(
    'text',
    [
        'a = 1',
        'model = 3',
        'model = dict()',
        'model = [dict(type="ClipRecognizer")]',
        'stages = 3',
        'stages = dict(x=3)',
        'stages = dict(x=dict(model=3))',
        'stages = [3]',
        'model = dict(type="ClipRecognizer")\ntest_dataloader = 3',
        'model = dict(type="ClipRecognizer")\ntest_dataloader = dict(dataset=3)',
    ],
)
def test_a_config_without_a_recognizer_is_told(tmp_path, text):
    torch.save(dict(state_dict=dict(a=torch.ones(1)), meta=dict(cfg=text)), tmp_path / 'odd.pth')
    with pytest.raises(ConfigError):
        init_recognizer(checkpoint=tmp_path / 'odd.pth')


def test_every_recipe_could_be_carried():
    files = sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)
    assert files
    for file in files:
        for stage in expand_stages(load_config(file)):
            check_carried(stage.cfg.to_dict(), file.name)


def test_a_harmless_one_comes_back_as_it_was():
    cfg = whole_config()
    assert carried_config(Config(cfg).pretty_text, 'FILE').to_dict() == cfg


def test_stages_come_back_whatever_their_names():
    overrides = dict(
        train_cfg=dict(type='PolicyLoop'), optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0))
    )
    names = ['policy', 'model', 'dataset']
    cfg = whole_config()
    cfg['stages'] = [dict(overrides, name=name) for name in names]
    listed = carried_config(Config(cfg).pretty_text, 'FILE')
    assert [stage.name for stage in expand_stages(listed)] == names
    by_name = {**cfg, 'stages': {name: overrides for name in names}}
    text = '\n'.join(f'{key} = {value!r}' for key, value in by_name.items())
    assert [stage.name for stage in expand_stages(carried_config(text, 'FILE'))] == names
    with pytest.raises(
        ConfigError, match=r'so in which order its stages \(dataset, model, policy\) train is lost'
    ):
        carried_config(Config(by_name).pretty_text, 'FILE')


def test_scopes_of_others_change_nothing(trap):
    cfg = whole_config()
    cfg['default_scope'] = 'scoped_trap'
    with DefaultScope.overwrite_default_scope('mmengine'):
        check_carried(cfg, 'FILE')
    assert not trap()


# ------------------------------------------------------------------------------------- exports, prepared sets


@pytest.mark.slow
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ('onnx', 'onnxscript', 'onnxruntime')),
    reason='onnx, onnxscript and onnxruntime are not installed',
)
def test_an_edited_export_runs_nothing(tmp_path, trap):
    from gfvideo.deployment import OnnxRecognizer, export_recognizer

    model = init_recognizer(Config(whole_config()))
    export_recognizer(model, tmp_path / 'export')
    file = tmp_path / 'export' / 'export.json'
    content = json.loads(file.read_text())
    OnnxRecognizer(tmp_path / 'export')
    evil = whole_config()
    evil['test_dataloader']['dataset']['pipeline'][0]['type'] = 'trap_for_tests.spring'
    for change, message in [
        (
            dict(cfg=Config(evil).pretty_text),
            "export.json names test_dataloader.dataset.pipeline.0.type='trap_for_tests.spring'",
        ),
        (dict(cfg='import trap_for_tests'), 'more than "name = value"'),
        (dict(cfg=[1]), 'not the text of a config'),
        (
            dict(preprocessor=dict(type='trap_for_tests.spring', mean=[1, 2, 3], std=[1, 2, 3])),
            'preprocessor is',
        ),
        (dict(preprocessor=dict(mean=[1, 2, 3], std=[1, 2])), 'preprocessor is'),
        (dict(steps='1'), "steps is '1'"),
        (dict(steps=3), 'graphs for the glance and 3 focus steps'),
        (
            dict(graphs=[dict(graph, file='../export/' + graph['file']) for graph in content['graphs']]),
            'not the name of a file',
        ),
        (dict(dataset_meta=[]), 'dataset_meta is'),
    ]:
        file.write_text(json.dumps({**content, **change}))
        with pytest.raises(ValueError, match=message):
            OnnxRecognizer(tmp_path / 'export')
    file.write_text('[' * 100_000)
    with pytest.raises(ValueError, match='cannot be used'):
        OnnxRecognizer(tmp_path / 'export')
    assert not trap()


def test_a_prepared_dataset_names_nothing_that_is_imported(tmp_path, trap):
    from gfvideo.data.dataset import ClipDataset
    from gfvideo.data.manifest import ClipRow, ManifestError, write_manifest

    (tmp_path / 'videos').mkdir()
    row = ClipRow(id='a', path='a.mp4', kind='video', label=0, frames=8, height=24, width=32)
    write_manifest(
        tmp_path,
        name='tiny',
        version='1',
        classes=['one', 'two'],
        label_order='given',
        rows=dict(val=[row]),
        video_root='videos',
    )
    file = tmp_path / 'dataset.json'
    content = json.loads(file.read_text())
    evil = dict(type='trap_for_tests.spring', _scope_='scoped_trap')
    for key in [*content, 'pipeline', 'type']:
        file.write_text(json.dumps({**content, key: evil}))
        try:
            ClipDataset(
                root=tmp_path,
                split='val',
                pipeline=whole_config()['test_dataloader']['dataset']['pipeline'],
                test_mode=True,
            )
        except (ManifestError, FileNotFoundError):
            pass
        assert not trap(), key
    file.write_text('[' * 100_000)
    with pytest.raises(ManifestError, match='nested'):
        ClipDataset(root=tmp_path, split='val', pipeline=[dict(type='PackClip')], test_mode=True)
