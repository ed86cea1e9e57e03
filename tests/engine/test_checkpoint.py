"""Checkpoints: written whole, read safely, understood again."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from torch import nn

from gfvideo.engine import (
    CheckpointError,
    SafeCheckpointHook,
    latest_checkpoint,
    load_checkpoint,
    load_weights,
    weights_hash,
)
from gfvideo.engine.checkpoint import keep_last_and_best, plain
from gfvideo.engine.random_state import random_state, restore_random_state, seed_everything


def test_plain_values_survive_a_safe_load(tmp_path):
    value = dict(
        a=np.float32(1.5),
        b=np.arange(3),
        c=(1, [True, None, 'x']),
        d=Path('x/y'),
        e=OrderedDict(f=torch.ones(2)),
        g={1},
        h=np.array(['s', 't']),
        i={3: np.int64(7)},
        j=np.bool_(True),
    )
    torch.save(plain(value), tmp_path / 'x.pth')
    back = torch.load(tmp_path / 'x.pth', weights_only=True)
    assert (
        back['a'] == 1.5
        and type(back['a']) is float
        and back['b'].tolist() == [0, 1, 2]
        and back['c'] == (1, [True, None, 'x'])
    )
    assert (
        back['d'] == 'x/y'
        and isinstance(back['e'], OrderedDict)
        and back['g'] == [1]
        and back['h'] == ['s', 't']
    )
    assert back['i'] == {3: 7} and back['j'] is True


def test_what_has_no_plain_form_is_left_out_of_its_dict():
    assert plain(dict(keep=1, function=print, deeper=dict(thing=object(), number=2))) == dict(
        keep=1, deeper=dict(number=2)
    )
    with pytest.raises(TypeError, match='builtin_function_or_method has no plain form'):
        plain(print)


def fake_runner(model: nn.Module) -> SimpleNamespace:
    loader = SimpleNamespace(
        dataset=SimpleNamespace(metainfo=dict(classes=['a'], manifest_hash='12', present=3, official=None))
    )
    return SimpleNamespace(model=model, cfg=dict(stage='policy'), train_dataloader=loader, val_loop=None)


def test_the_hook_turns_message_hubs_plain_and_back(tmp_path):
    hook, runner = SafeCheckpointHook(interval=1), fake_runner(nn.Linear(1, 1))
    buffer = HistoryBuffer([1.0, 2.0, 4.0], [1, 2, 3])
    hub = dict(
        log_scalars=OrderedDict(loss=buffer), runtime_info=OrderedDict(x=np.ones(2), f=print), resumed_keys={}
    )
    checkpoint = dict(meta=dict(epoch=np.int64(3)), state_dict=runner.model.state_dict(), message_hub=hub)
    hook.before_save_checkpoint(runner, checkpoint)
    torch.save(checkpoint, tmp_path / 'x.pth')
    loaded = load_checkpoint(tmp_path / 'x.pth')
    assert loaded['meta'].pop('weights_hash') == weights_hash(runner.model.state_dict())
    assert loaded['meta'] == dict(
        epoch=3, stage='policy', datasets=dict(train=dict(manifest_hash='12', present=3, official=None))
    )
    hook.after_load_checkpoint(runner, loaded)
    back = loaded['message_hub']['log_scalars']['loss']
    assert (
        isinstance(back, HistoryBuffer)
        and back.mean(2) == buffer.mean(2)
        and back.max_length == buffer.max_length
    )
    back.update(8.0)
    assert back.current() == 8.0 and set(loaded['message_hub']['runtime_info']) == {'x'}


def test_the_hook_refuses_weights_of_another_model():
    with pytest.raises(
        CheckpointError, match=r"no weight of the checkpoint belongs to Linear: it has e.g. \['conv.weight'\]"
    ):
        SafeCheckpointHook().after_load_checkpoint(
            fake_runner(nn.Linear(1, 1)), dict(state_dict={'conv.weight': torch.ones(1)})
        )


# ------------------------------------------------------------------------------------------------------- read


class Trap:
    def __reduce__(self):
        return os.system, ('touch trapped',)


def test_nothing_runs_from_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict={}, meta=Trap()), 'trap.pth')
    # ours, and the way mmengine's Runner reads
    for load in (load_checkpoint, CheckpointLoader.load_checkpoint):
        with pytest.raises(CheckpointError, match='trap.pth cannot be loaded safely'):
            load('trap.pth')
    assert not Path('trapped').exists()


def test_what_cannot_be_read_is_named(tmp_path):
    torch.save(dict(state_dict={}), tmp_path / 'here.pth')
    with pytest.raises(FileNotFoundError, match=r'no checkpoint at .*gone.pth; .* holds here.pth'):
        load_checkpoint(tmp_path / 'gone.pth')
    whole = (tmp_path / 'here.pth').read_bytes()
    (tmp_path / 'half.pth').write_bytes(whole[: len(whole) // 2])
    (tmp_path / 'empty.pth').write_bytes(b'')
    (tmp_path / 'text.pth').write_text('<html>not found</html>')
    torch.save([1, 2], tmp_path / 'list.pth')
    torch.save(dict(epoch=1), tmp_path / 'no_weights.pth')
    for name, message in (
        ('half', 'is damaged'),
        ('empty', 'is damaged'),
        ('text', 'cannot be loaded safely|is damaged'),
        ('list', 'holds a list, not a dict with weights'),
        ('no_weights', r"has no state_dict, only \['epoch'\]"),
    ):
        with pytest.raises(CheckpointError, match=f'{name}.pth.*({message})'):
            load_checkpoint(tmp_path / f'{name}.pth')


def test_a_bare_state_dict_is_a_checkpoint(tmp_path):
    torch.save(nn.Linear(2, 1).state_dict(), tmp_path / 'x.pth')
    loaded = load_checkpoint(tmp_path / 'x.pth')
    assert set(loaded['state_dict']) == {'weight', 'bias'} and loaded['meta'] == {}


def test_weights_must_fit():
    model = nn.Linear(2, 1)
    load_weights(
        model, dict(state_dict={'module.weight': torch.ones(1, 2), 'module.bias': torch.ones(1)}), 'x.pth'
    )
    assert model.weight.eq(1).all()
    with pytest.raises(
        CheckpointError,
        match=r'x.pth does not fit .* 1 missing in the file \(bias\); 1 unknown to the model \(extra\); '
        r'1 of another shape \(weight \(3, 2\) instead of \(1, 2\)\)',
    ):
        load_weights(model, dict(state_dict=dict(weight=torch.ones(3, 2), extra=torch.ones(1))), 'x.pth')


def test_latest_checkpoint(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        (tmp_path / name).write_bytes(b'x')
    assert latest_checkpoint(tmp_path) is None  # files of an earlier run, no pointer
    pointer = tmp_path / 'last_checkpoint'
    pointer.write_text(str(tmp_path / 'epoch_1.pth'))
    assert latest_checkpoint(tmp_path).name == 'epoch_1.pth'
    pointer.write_text('/moved/since/epoch_2.pth')
    assert latest_checkpoint(tmp_path) == tmp_path / 'epoch_2.pth'
    pointer.write_text('')  # cut off between emptying and filling it
    assert latest_checkpoint(tmp_path).name == 'epoch_2.pth'
    pointer.write_text('/gone/epoch_9.pth')
    with pytest.raises(CheckpointError, match='names /gone/epoch_9.pth, which is gone'):
        latest_checkpoint(tmp_path)


# ------------------------------------------------------------------------------------------------- randomness


def draw() -> tuple:
    import random

    return (
        random.random(),
        random.gauss(0, 1),
        np.random.rand(),
        float(np.random.randn()),
        torch.rand(2).tolist(),
        float(torch.randn(1)),
    )


def test_random_state_goes_through_a_file(tmp_path):
    seed_everything(1, 2, 3)
    draw()
    torch.save(random_state(), tmp_path / 'x.pth')
    expected = [draw() for _ in range(3)]
    restore_random_state(torch.load(tmp_path / 'x.pth', weights_only=True))
    assert [draw() for _ in range(3)] == expected


def test_seeds_of_epochs_and_ranks_are_unlike():
    drawn = set()
    for numbers in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]:
        seed_everything(*numbers)
        first = draw()
        seed_everything(*numbers)
        assert draw()[0] == first[0]
        drawn.add((first[0], first[2], first[5]))
    assert len({d[i] for d in drawn for i in range(3)}) == 12


@pytest.mark.parametrize('links', [True, False])
def test_last_and_best_are_replaced_whole(tmp_path, monkeypatch, links):
    if not links:

        def refuse(*_):
            raise OSError('no links here')

        monkeypatch.setattr(os, 'link', refuse)
    for name in ('epoch_1', 'epoch_2', 'best_top1_epoch_1'):
        (tmp_path / f'{name}.pth').write_text(name)
    keep_last_and_best(tmp_path, tmp_path / 'epoch_1.pth')
    assert (tmp_path / 'last.pth').read_text() == (tmp_path / 'best.pth').read_text() == 'epoch_1'
    keep_last_and_best(tmp_path, tmp_path / 'epoch_2.pth', tmp_path / 'best_top1_epoch_1.pth')
    assert (tmp_path / 'last.pth').read_text() == 'epoch_2'
    assert (tmp_path / 'best.pth').read_text() == 'best_top1_epoch_1'
    assert (tmp_path / 'epoch_1.pth').read_text() == 'epoch_1'  # what it was a link to is as it was
    assert not list(tmp_path.glob('.*'))
