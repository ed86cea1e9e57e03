"""Files of weights: whole or refused, plain or refused, fetched once or named with the ways round."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gfvideo.engine import (
    CheckpointError,
    ConfigError,
    check_pretrained,
    expand_stages,
    load_checkpoint,
    load_config,
)
from gfvideo.models.pretrained import read_state_dict
from gfvideo.weights import (
    DamagedFile,
    UnreachableFile,
    UnsafeFile,
    fetch,
    misfit,
    not_finite,
    part_of,
    read_weights_file,
    under,
    unwrapped,
    weights_in,
)

NOWHERE = 'http://127.0.0.1:9/weights-0123abcd.pth'  # the port of a service that nobody offers


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch_home'))


@given(data=st.data())
def test_any_flipped_bit_of_a_tensor_is_found(data, tmp_path_factory):
    path = tmp_path_factory.mktemp('flip') / 'x.pth'
    values = torch.arange(64, dtype=torch.float32)
    torch.save(dict(state_dict=dict(a=values)), path)
    whole = bytearray(path.read_bytes())
    at = whole.find(values.numpy().tobytes())
    bit = data.draw(st.integers(0, 64 * 32 - 1))
    whole[at + bit // 8] ^= 1 << bit % 8
    path.write_bytes(whole)
    with pytest.raises(DamagedFile, match='its part .* does not fit its checksum'):
        read_weights_file(path)


@given(data=st.data())
def test_any_cut_is_found(data, tmp_path_factory):
    path = tmp_path_factory.mktemp('cut') / 'x.pth'
    torch.save(dict(state_dict=dict(a=torch.ones(8))), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises((DamagedFile, UnsafeFile)):
        read_weights_file(path)


@given(st.binary(max_size=200))
def test_any_other_bytes_are_told(content):
    with tempfile.NamedTemporaryFile(suffix='.pth') as file:
        file.write(content)
        file.flush()
        try:
            read_weights_file(file.name)  # a few bytes are a plain pickle of something
        except (DamagedFile, UnsafeFile):
            pass


def test_the_old_form_of_files_is_read(tmp_path):
    torch.save(dict(a=torch.ones(3)), tmp_path / 'x.pth', _use_new_zipfile_serialization=False)
    assert torch.equal(read_weights_file(tmp_path / 'x.pth')['a'], torch.ones(3))


def test_safetensors_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    (tmp_path / 'x.safetensors').write_bytes(b'x' * 20)
    for read in (read_weights_file, read_state_dict):
        with pytest.raises(ImportError, match='x.safetensors is a safetensors file.*pip install safetensors'):
            read(str(tmp_path / 'x.safetensors'))
    with pytest.raises(CheckpointError, match='pip install safetensors'):
        load_checkpoint(tmp_path / 'x.safetensors')


def test_safetensors_are_read(tmp_path):
    save_file = pytest.importorskip('safetensors.torch').save_file
    save_file(dict(a=torch.arange(3.0)), tmp_path / 'x.safetensors')
    assert torch.equal(read_state_dict(str(tmp_path / 'x.safetensors'))['a'], torch.arange(3.0))
    (tmp_path / 'y.safetensors').write_bytes((tmp_path / 'x.safetensors').read_bytes()[:-3])
    with pytest.raises(DamagedFile):
        read_weights_file(tmp_path / 'y.safetensors')


def test_an_address_is_fetched_once(tmp_path, monkeypatch):
    """From a server of the test's own."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *args):
            pass

    (tmp_path / 'served').mkdir()
    torch.save(dict(a=torch.ones(2)), tmp_path / 'served' / 'w.pth')
    with http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Handler, directory=str(tmp_path / 'served'))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_port}/'
        for _ in range(2):
            assert torch.equal(read_weights_file(address + 'w.pth')['a'], torch.ones(2))
        with pytest.raises(UnreachableFile, match='gone.pth cannot be fetched .*404'):
            fetch(address + 'gone.pth')
        server.shutdown()
    assert asked == ['/w.pth', '/gone.pth']
    assert not [file for file in (tmp_path / 'torch_home').rglob('gone*')]


@pytest.fixture
def config(tmp_path):
    """Of a training whose data is missing too: what is told first is what was looked at first."""
    path = tmp_path / 'config.py'
    path.write_text(f"""
pretrained = dict(type='Pretrained', checkpoint='{{{{$WEIGHTS_FOR_TESTS:{NOWHERE}}}}}')
backbone = dict(type='ResNet', depth=18, init_cfg=pretrained)
model = dict(type='ClipRecognizer', num_classes=3, encoder=dict(type='Encoder', backbone=backbone))
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='ClipDataset', root='nowhere', split='train', pipeline=[dict(type='PackClip')]))
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05))
""")
    return path


def test_weights_that_cannot_be_fetched_are_one_line(config, monkeypatch):
    monkeypatch.delenv('WEIGHTS_FOR_TESTS', raising=False)
    with pytest.raises(ConfigError) as caught:
        check_pretrained(expand_stages(load_config(config)))
    text = str(caught.value)
    assert '\n' not in text and text.startswith(
        f'pretrained weights, model.encoder.backbone.init_cfg: {NOWHERE} cannot be fetched'
    )
    assert 'environment variable WEIGHTS_FOR_TESTS' in text
    assert text.endswith('--cfg-options model.encoder.backbone.init_cfg=None')
    options = {'model.encoder.backbone.init_cfg': None}
    check_pretrained(expand_stages(load_config(config), options))


def test_a_local_file_that_is_missing_is_one_line(config, monkeypatch, tmp_path):
    monkeypatch.setenv('WEIGHTS_FOR_TESTS', 'missing.pth')
    told = 'init_cfg: there is no file missing.pth .looked from .*; set model.encoder.*checkpoint to a file'
    with pytest.raises(ConfigError, match=told):
        check_pretrained(expand_stages(load_config(config)))
    torch.save(dict(a=torch.ones(2)), tmp_path / 'there.pth')
    monkeypatch.setenv('WEIGHTS_FOR_TESTS', str(tmp_path / 'there.pth'))
    check_pretrained(expand_stages(load_config(config)))


def test_training_tells_it_before_anything_is_built(config, monkeypatch, tmp_path):
    monkeypatch.delenv('WEIGHTS_FOR_TESTS', raising=False)
    spec = importlib.util.spec_from_file_location(
        'train_tool', Path(__file__).resolve().parents[1] / 'tools' / 'train.py'
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with pytest.raises(SystemExit, match='ConfigError: pretrained weights'):
        tool.main([str(config), '--work-dir', str(tmp_path / 'work')])
    with pytest.raises(SystemExit, match='no prepared dataset at nowhere'):
        tool.main(
            [
                str(config),
                '--work-dir',
                str(tmp_path / 'work'),
                '--cfg-options',
                'model.encoder.backbone.init_cfg=None',
            ]
        )


# ---------------------------------------------------------------------------------------------- names and fit

A, B = torch.zeros(2), torch.ones(1, 3)


@pytest.mark.parametrize(
    'content',
    [
        {'a.b': A},
        {'module.a.b': A},
        dict(state_dict={'module.a.b': A}, epoch=3),
        dict(model={'module.module.a.b': A}),
        dict(model_state={'a.b': A}),
        dict(state_dict=dict(model={'a.b': A})),
    ],
)
def test_weights_are_found_wherever_they_lie(content):
    found = weights_in(content)
    assert list(found) == ['a.b'] and found['a.b'] is A


@pytest.mark.parametrize(
    'content', [{}, dict(state_dict={}), dict(a=3), dict(state_dict=dict(a=A, b=3)), [A], 3]
)
def test_what_holds_no_weights_is_none(content):
    assert weights_in(content) is None


def test_prefixes_come_and_go():
    weights = {'x.a': A, 'xy.a': B, 'x.module.b': B}
    assert part_of(weights, 'x') == {'a': A, 'module.b': B}
    assert under('p.q', {'a': A}) == {'p.q.a': A}
    assert unwrapped({'module.module.a': A, 'module.x.module.b': B}) == {'a': A, 'x.module.b': B}


def test_a_misfit_names_what_is_missing_left_over_and_reshaped():
    own = {'a': A, 'b': B, 'n.num_batches_tracked': A, 'c': A}
    assert not misfit(own, dict(own)) and misfit(own, dict(own)).told() == ''
    found = misfit(own, {'a': B, 'b': B, 'd': A, 'e': A})
    assert (len(found), found.told(1)) == (
        5,
        '2 missing in the file (n.num_batches_tracked, ...); 2 unknown to the model (d, ...); '
        '1 of another shape (a (1, 3) instead of (2,))',
    )
    assert '2 unknown to the model (d, e);' in found.told(None)
    assert misfit(own, {name: own[name] for name in 'abc'}, counters=False).told() == ''


def test_numbers_that_are_none():
    weights = dict(a=A, b=torch.tensor([1.0, torch.nan]), c=torch.tensor([-torch.inf]), d=torch.tensor([3]))
    assert not_finite(weights) == ['b', 'c']
