"""Configs by name."""

from __future__ import annotations

import pytest

import gfvideo
from gfvideo import home
from gfvideo.engine import load_config


def test_names_of_configs():
    names = gfvideo.list_models()
    assert 'glance-focus_tiny_value-map_toy' in names and len(names) == len(set(names))
    assert not [name for name in names if name.startswith('default_runtime')]  # parts of configs are none
    assert set(gfvideo.list_models('ssv2')) == {name for name in names if 'ssv2' in name}
    assert gfvideo.list_models('tsm_*toy') == ['tsm_tiny_toy']


def test_a_name_is_a_config():
    file = home.model_config('tsm_tiny_toy')
    assert file.name == 'tsm_tiny_toy.py' and home.model_config('tsm_tiny_toy.py') == file
    assert load_config('tsm_tiny_toy').model == load_config(file).model
    with pytest.raises(FileNotFoundError, match='none that comes .*; near to it are tsm_tiny_toy'):
        load_config('tsm_tiny_tou')


def test_a_model_by_name():
    model = gfvideo.create_model('tsm_tiny_toy', cfg_options={'model.num_classes': 3})
    assert (type(model).__name__, model.num_classes, model.training) == ('ClipRecognizer', 3, False)
    with pytest.raises(AttributeError, match="no attribute 'create_models'"):
        gfvideo.create_models  # noqa: B018 (asked for on purpose)


def test_a_package_without_its_tools_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(home, 'PACKAGE', tmp_path / 'gfvideo')
    monkeypatch.setattr(home, 'CARRIED', tmp_path / 'gfvideo' / '.mim')
    with pytest.raises(FileNotFoundError, match='install gfvideo from its wheel'):
        home.home()
