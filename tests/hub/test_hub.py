"""A recognizer in a folder and on a hub is the one that was saved, and its card says what files say."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

import gfvideo
from gfvideo.apis import init_recognizer
from gfvideo.deployment import publish_checkpoint
from gfvideo.engine import (
    CheckpointError,
    ConfigError,
    checkpoint_of,
    describe_model,
    expand_stages,
    load_checkpoint,
    load_config,
    weights_hash,
)
from gfvideo.engine.hub_folder import json_value, plain_value, read_hub_meta
from gfvideo.exits import Calibration, ExitsFileError, Setting, StepExits, read_exits, write_exits
from gfvideo.hub import CardError, fetch_pretrained, from_pretrained, push_to_hub, save_pretrained

pytest.importorskip('safetensors', reason='the extra hub is not installed')

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'deployment' / 'save_pretrained.py'
ENCODER = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4)
CONFIG = dict(
    model=dict(
        type='GlanceFocusRecognizer',
        num_classes=3,
        glance=ENCODER,
        focus=ENCODER,
        glance_size=16,
        patch_size=(16, 16),
        steps=2,
        policy=dict(type='RecurrentGaussianPolicy', hidden=8),
        classifier=dict(type='RecurrentClassifier', hidden=16),
    ),
    work_dir='work_dirs/mine',
    load_from='elsewhere.pth',
)
TRAIN = dict(name='toy', version='1', split='train', manifest_hash='abc123', present=7, official=9)
META = dict(
    dataset_meta=dict(classes=['a', 'b', 'c']), stage='tune', epoch=3, seed=7, datasets=dict(train=TRAIN)
)
LEFT_OUT = ('work_dir', 'load_from', 'resume', 'custom_imports')
FRAMES = torch.randn(2, 3, 3, 32, 40, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    model = init_recognizer(Config(CONFIG))
    for name, buffer in model.named_buffers():
        if name.endswith('running_var'):
            buffer.uniform_(0.5, 2)
    path = tmp_path_factory.mktemp('run') / 'epoch_3.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(META, cfg=model.cfg.pretty_text)), path)
    return path


@pytest.fixture
def model(checkpoint):
    return init_recognizer(None, checkpoint)


def exits_of(model, **other):
    """A calibration of two settings that belongs to the model."""
    told = dict(describe_model(model), **other)
    settings = tuple(
        Setting(StepExits((threshold, threshold)), accuracy, dict(gmacs=cost, ms=10 * cost), counts)
        for threshold, accuracy, cost, counts in (
            (0.2, 0.5, 0.001234, (9, 1, 0)),
            (0.9, 0.75, 0.005678, (1, 4, 5)),
        )
    )
    source = dict(model=told, data=dict(name='toy', split='val', manifest_hash='def456'))
    return Calibration(
        'steps', 'gmacs', settings, dict(gmacs=[0.001, 0.004, 0.007], ms=[1.0, 2.0, 3.0]), source
    )


def write_results(path, model, **other):
    """As tools/test.py writes them."""
    content = dict(
        command='python tools/test.py config.py epoch_3.pth',
        dataset=dict(TRAIN, split='test'),
        clips=40,
        metrics=dict(top1=0.625, top1_step10=0.5, top1_step2=0.625, top5=1.0),
        weights=weights_hash(model.state_dict()),
        **other,
    )
    path.write_text(json.dumps(content))
    return path


def same_predictions(one, other):
    with torch.no_grad():
        return all(torch.equal(a.logits, b.logits) for a, b in zip(one.looks(FRAMES), other.looks(FRAMES)))


# ------------------------------------------------------------------------------------------- save and load


def test_what_is_loaded_is_what_was_saved(model, tmp_path):
    folder = model.save_pretrained(tmp_path / 'mine')
    assert folder == tmp_path / 'mine'
    assert {file.name for file in folder.iterdir()} == {'config.json', 'model.safetensors', 'README.md'}
    for loaded in (
        gfvideo.from_pretrained(folder),
        from_pretrained(str(folder)),
        init_recognizer(folder),
        init_recognizer(None, folder),
        init_recognizer(Config(CONFIG), folder / 'model.safetensors'),
    ):
        assert not loaded.training and same_predictions(model, loaded)
        assert describe_model(loaded) == describe_model(model)
        assert loaded.dataset_meta == dict(classes=['a', 'b', 'c'])
        assert loaded.provenance == dict(stage='tune', epoch=3, seed=7, datasets=dict(train=TRAIN))
    assert checkpoint_of(folder) == str(folder / 'model.safetensors')
    assert load_checkpoint(folder)['meta']['stage'] == 'tune'


def test_a_folder_that_was_loaded_can_be_saved_and_published_again(model, tmp_path):
    first = model.save_pretrained(tmp_path / 'first')
    again = from_pretrained(first).save_pretrained(tmp_path / 'again')
    for name in ('config.json', 'model.safetensors'):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    path = publish_checkpoint(checkpoint_of(first), tmp_path / 'one.pth')
    assert same_predictions(init_recognizer(None, path), model)


def test_options_of_init_recognizer_go_on(model, tmp_path):
    folder = model.save_pretrained(tmp_path / 'mine')
    loaded = from_pretrained(folder, cfg_options={'model.test_centres': 'centre'})
    assert loaded.test_centres == 'centre' and model.test_centres != 'centre'


def test_what_tells_of_the_run_stays_behind(model, tmp_path):
    content = json.loads((model.save_pretrained(tmp_path) / 'config.json').read_text())
    assert model.cfg.work_dir == 'work_dirs/mine' and model.cfg.load_from == 'elsewhere.pth'
    assert set(content['config']) == {'model'}
    assert content['architectures'] == ['GlanceFocusRecognizer']
    assert content['config']['model']['patch_size'] == [16, 16]


@pytest.mark.parametrize(
    'name', ['glance-focus_tiny_value-map_toy', 'glance-focus_r50_g96-p96-s2_8f_ssv2', 'tsm_tiny_toy']
)
def test_configs_survive_the_form(name, tmp_path):
    """As data, and in what is built of them."""
    from gfvideo.engine.config import carried_config
    from gfvideo.home import model_config
    from gfvideo.registry import MODELS, TRANSFORMS

    cfg = expand_stages(load_config(str(model_config(name))))[-1].cfg
    kept = {key: value for key, value in cfg.to_dict().items() if key not in LEFT_OUT}
    values = json.loads(json.dumps(json_value(kept, 'config'), allow_nan=False))
    path = tmp_path / 'config.json'
    path.write_text(json.dumps(dict(library_name='gfvideo', format=1, meta={}, config=values)))
    read = carried_config(read_hub_meta(path)['cfg'], str(path))
    assert listed(read.to_dict()) == listed(kept)
    with torch.device('meta'):
        one, other = (MODELS.build({**it.model, 'num_classes': 5}) for it in (cfg, read))
    assert str(one) == str(other)
    for loader in ('train_dataloader', 'test_dataloader'):
        for before, after in zip(cfg[loader].dataset.pipeline, read[loader].dataset.pipeline, strict=True):
            built = [TRANSFORMS.build(it.to_dict()) for it in (before, after)]
            shown = [
                json.dumps(vars(it), default=lambda value: str(type(value)), sort_keys=True) for it in built
            ]
            assert shown[0] == shown[1]


def listed(value):
    """``value`` with lists in the place of tuples."""
    if isinstance(value, list | tuple):
        return [listed(item) for item in value]
    return {key: listed(item) for key, item in value.items()} if isinstance(value, dict) else value


KEYS = st.text() | st.integers() | st.booleans() | st.sampled_from(['__items__', '__float__'])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner),
    max_leaves=12,
)


@given(PLAIN)
def test_plain_values_come_back(value):
    text = json.dumps(json_value(value, 'config'), allow_nan=False)
    assert repr(plain_value(json.loads(text))) == repr(listed(value))


@pytest.mark.parametrize(
    ('value', 'place'),
    [
        (dict(a=[1, {2}]), r'config\.a\[1\]=\{2\}'),
        (dict(a={1: {2}}), r'config\.a\[1\]=\{2\}'),
        ({(b'',): 2}, r"a key of config\[0\]=b''"),
        (dict(f=print), r'config\.f=<built-in'),
    ],
)
def test_what_json_has_no_form_for_is_named(value, place):
    with pytest.raises(ConfigError, match=f'{place}.* cannot be saved'):
        json_value(value, 'config')


# ---------------------------------------------------------------------- what is wrong


def test_a_model_without_config_is_not_saved(model, tmp_path):
    model.cfg = Config()
    with pytest.raises(ConfigError, match='has no config'):
        model.save_pretrained(tmp_path / 'mine')
    assert not (tmp_path / 'mine').exists()


def test_weights_of_another_folder_are_refused(model, tmp_path):
    one = model.save_pretrained(tmp_path / 'one')
    with torch.no_grad():
        next(model.parameters()).add_(1)
    other = model.save_pretrained(tmp_path / 'other')
    shutil.copy(other / 'model.safetensors', one)
    with pytest.raises(CheckpointError, match='is damaged or was edited'):
        from_pretrained(one)
    (one / 'model.safetensors').write_bytes((other / 'model.safetensors').read_bytes()[:-9])
    with pytest.raises(CheckpointError, match='is damaged'):
        from_pretrained(one)


@pytest.mark.parametrize(
    ('change', 'error', 'said'),
    [
        (lambda c: c.update(format=2), CheckpointError, r'has format 2, this version of gfvideo'),
        (lambda c: c.update(config=[]), CheckpointError, r'has config=\[\], not an object'),
        (lambda c: c['config']['model'].update(type='os.system'), ConfigError, 'more than the plain name'),
        (lambda c: c['config']['model'].update(type='Unheard'), ConfigError, 'is not registered'),
        (lambda c: c['config'].update({'import os': 1}), ConfigError, 'cannot be used'),
        (lambda c: c.update(library_name='timm'), ConfigError, 'carries no config'),
    ],
)
def test_configs_from_elsewhere_are_data(model, tmp_path, change, error, said):
    folder = model.save_pretrained(tmp_path)
    content = json.loads((folder / 'config.json').read_text())
    change(content)
    (folder / 'config.json').write_text(json.dumps(content))
    with pytest.raises(error, match=said):
        from_pretrained(folder)


def test_a_config_that_is_no_json_is_named(model, tmp_path):
    folder = model.save_pretrained(tmp_path)
    (folder / 'config.json').write_text('{"library')
    with pytest.raises(CheckpointError, match='config.json is no JSON'):
        from_pretrained(folder)
    (folder / 'config.json').unlink()
    with pytest.raises(CheckpointError, match='does not hold both config.json and model.safetensors'):
        from_pretrained(folder)
    assert load_checkpoint(folder / 'model.safetensors')['meta'] == {}  # weights alone


def test_missing_libraries_are_named(model, tmp_path, monkeypatch):
    folder = model.save_pretrained(tmp_path / 'mine')
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(ImportError, match=r'safetensors is not installed: pip install "gfvideo\[hub\]"'):
        model.save_pretrained(tmp_path / 'other')
    with pytest.raises(CheckpointError, match=r'not installed: pip install safetensors, or "gfvideo\[hub\]"'):
        from_pretrained(folder)
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(ImportError, match=r'huggingface_hub.*pip install "gfvideo\[hub\]"'):
        from_pretrained('owner/name')


# ---------------------------------------------------------------------- exits and the card


def test_exits_go_along_if_they_belong(model, tmp_path):
    folder = model.save_pretrained(tmp_path / 'mine', exits=exits_of(model))
    assert read_exits(folder / 'exits.json').pick().accuracy == 0.75
    model.save_pretrained(folder)  # they stay
    assert '| 75.0 % (chosen) | 0.005678 | 0.05678 |' in (folder / 'README.md').read_text()
    write_exits(tmp_path / 'exits.json', exits_of(model, weights='0' * 64))
    with pytest.raises(ExitsFileError, match='exits.json was fitted for another model'):
        model.save_pretrained(tmp_path / 'other', exits=tmp_path / 'exits.json')
    assert not (tmp_path / 'other').exists()


def test_the_card_says_what_the_files_say(model, tmp_path):
    results = [
        write_results(tmp_path / 'plain.json', model),
        write_results(tmp_path / 'exits.json', model, exits=dict(fitted_on_these_clips=True)),
    ]
    folder = model.save_pretrained(
        tmp_path / 'mine', name='a | "b"', exits=exits_of(model), results=results, license='mit'
    )
    text = (folder / 'README.md').read_text()
    header = yaml.safe_load(text.split('---\n')[1])
    assert header['library_name'] == 'gfvideo' and header['license'] == 'mit'
    first, second = header['model-index'][0]['results']
    assert header['model-index'][0]['name'] == 'a | "b"'
    assert first['dataset'] == dict(name='toy', type='toy', split='test', revision='abc123')
    assert first['metrics'] == [dict(type='accuracy', name='top-1', value=0.625)]
    assert second['metrics'][0]['name'] == 'top-1 with early exit'
    assert text.count('python tools/test.py config.py epoch_3.pth') == 2
    assert text.count('so these numbers flatter them') == 1
    assert '| top1 | 0.625 |\n| top1_step2 | 0.625 |\n| top1_step10 | 0.5 |' in text
    assert 'split test, 40 clips, manifest hash `abc123`' in text
    assert 'split train, 7 clips, manifest hash `abc123`' in text
    assert f'| weights | `"{weights_hash(model.state_dict())}"` |' in text
    assert 'manifest hash `def456`' in text and '| 50.0 % | 0.001234 | 0.01234 |' in text
    code = re.search(r'```python\n(.*?)```', text, re.DOTALL)[1]
    compile(code, 'card', 'exec')
    assert 'OWNER/a | "b"' in code


def test_a_card_without_results_says_so(model, tmp_path):
    text = (model.save_pretrained(tmp_path / 'mine') / 'README.md').read_text()
    assert 'No results of a test were given' in text and 'model-index' not in text and '# mine' in text


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ('{', 'is no JSON'),
        ('[]', 'has no command'),
        (dict(weights='0' * 64), 'was measured on other weights'),
        (dict(weights=None), 'has no weights'),
        (dict(metrics=3), 'has no metrics'),
    ],
)
def test_only_results_of_these_weights_stand_on_the_card(model, tmp_path, content, said):
    path = write_results(tmp_path / 'test_results.json', model)
    if isinstance(content, dict):
        content = json.dumps(json.loads(path.read_text()) | content)
    path.write_text(content)
    with pytest.raises(CardError, match=f'test_results.json {said}.*test again'):
        model.save_pretrained(tmp_path / 'mine', results=[path])
    assert not (tmp_path / 'mine').exists()
    with pytest.raises(FileNotFoundError, match='no results at'):
        save_pretrained(model, tmp_path / 'mine', results=[tmp_path / 'gone.json'])


# -------------------------------------------------------------------------------------------------- the hub


class FakeApi:
    """A hub on this disk, with the calls of huggingface_hub.HfApi."""

    def __init__(self, root):
        self.root, self.created, self.asked = root, [], []

    def create_repo(self, repo_id, *, private=None, exist_ok=False):
        self.created.append((repo_id, private, exist_ok))

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        shutil.copytree(folder_path, self.root / repo_id)
        return f'hub/{repo_id}/{commit_message}'

    def snapshot_download(self, repo_id, *, revision=None, allow_patterns=None):
        self.asked.append((revision, allow_patterns))
        if not (self.root / repo_id).is_dir():
            raise OSError('404 Client Error\nmore of it')
        return str(self.root / repo_id)


def test_the_hub_and_back(model, tmp_path):
    api = FakeApi(tmp_path / 'hub')
    told = model.push_to_hub('me/mine', api=api, private=True, exits=exits_of(model), message='first')
    assert told == 'hub/me/mine/first' and api.created == [('me/mine', True, True)]
    assert (tmp_path / 'hub/me/mine/README.md').read_text().count('# mine') == 1
    loaded = from_pretrained('me/mine', api=api, revision='v1')
    assert same_predictions(loaded, model)
    folder = fetch_pretrained('me/mine', api=api)
    assert read_exits(folder / 'exits.json').pick().accuracy == 0.75
    wanted = ['config.json', 'model.safetensors', 'exits.json', 'README.md']
    assert api.asked == [('v1', wanted), (None, wanted)]


def test_the_calls_are_those_of_the_library():
    """The faked one has no others, and names no argument that the real one does not have."""
    import inspect

    real = pytest.importorskip('huggingface_hub', reason='the extra hub is not installed').HfApi
    for name in ('create_repo', 'upload_folder', 'snapshot_download'):
        faked = inspect.signature(getattr(FakeApi, name)).parameters
        assert set(faked) <= set(inspect.signature(getattr(real, name)).parameters)


def test_what_the_hub_does_not_have(model, tmp_path):
    api = FakeApi(tmp_path)
    with pytest.raises(CheckpointError, match=r'does not give me/gone at v2 \(OSError: 404 Client Error\)'):
        from_pretrained('me/gone', api=api, revision='v2')
    for source in ('nowhere', 'a/b/c', '../x y'):
        with pytest.raises(FileNotFoundError, match='no folder at .* no owner/name'):
            from_pretrained(source, api=api)
    with pytest.raises(ValueError, match="repo_id='mine' must be owner/name"):
        push_to_hub(model, 'mine', api=api)
    with pytest.raises(FileNotFoundError):
        push_to_hub(model, 'me/mine', api=api, results=['gone.json'])
    assert api.created == []


# ------------------------------------------------------------------------------------------------- the tool


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location('save_pretrained_tool', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tool(tool, checkpoint, model, tmp_path, capsys):
    results = write_results(tmp_path / 'test_results.json', model)
    tool.main([str(checkpoint.parent), str(tmp_path / 'mine'), '--results', str(results), '--name', 'x'])
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.split('  ')[0]).name for line in lines] == [
        'README.md',
        'config.json',
        'model.safetensors',
    ]
    assert same_predictions(from_pretrained(tmp_path / 'mine'), model)
    results.write_text('{')
    with pytest.raises(SystemExit, match='CardError: .*is no JSON'):
        tool.main([str(checkpoint), str(tmp_path / 'other'), '--results', str(results)])
    with pytest.raises(SystemExit, match='FileNotFoundError'):
        tool.main([str(tmp_path / 'gone.pth'), str(tmp_path / 'other')])
