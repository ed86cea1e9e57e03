"""Dumps of predictions come back as they were; what else a pickle may hold is refused, and nothing of it
runs."""

from __future__ import annotations

import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.evaluator import DumpResults

from gfvideo.evaluation import PredictionsError, read_predictions
from gfvideo.structures import ClipSample

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)


def clip(seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return dict(
        video_id=str(seed),
        frame_indices=[0, 5],
        frame_size=(40, 60),
        gt_label=torch.tensor(seed),
        none=None,
        flag=True,
        step_logits=torch.randn(3, 4, generator=generator),
        centres=torch.tensor([[[0.5, torch.nan], [1.0, 0.0]]]),
        half=torch.ones(2, 2, dtype=torch.bfloat16).T,
        empty=torch.zeros(0, 2),
        part=torch.arange(12).view(3, 4)[1:, ::2],
        size=torch.Size([2, 3]),
        kind=torch.float16,
        array=np.arange(6, dtype='>f4').reshape(2, 3),
        number=np.float32(0.1),
        columns=np.asfortranarray(np.arange(6).reshape(2, 3)),
        complex=np.array([1j]),
        bools=np.array([True, False]),
        nested=dict(ms=1.5, looks=[np.int64(3), (b'x', 'y')]),
    )


def assert_same(found, wanted) -> None:
    assert type(found) is type(wanted)
    if isinstance(wanted, torch.Tensor):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)
    elif isinstance(wanted, np.ndarray):
        assert (
            found.dtype.kind == wanted.dtype.kind and found.shape == wanted.shape and (found == wanted).all()
        )
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted):
            assert_same(one, other)
    else:
        assert found == wanted


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_what_was_dumped_comes_back(tmp_path, protocol):
    clips = [clip(0), clip(1)]
    (tmp_path / 'dump.pkl').write_bytes(pickle.dumps(clips, protocol))
    assert_same(read_predictions(tmp_path / 'dump.pkl'), clips)


def test_what_mmengine_dumps_comes_back(tmp_path):
    sample = ClipSample(
        metainfo=dict(video_id='7', frame_indices=[0, 3], frame_size=(4, 6), path='a.mp4', total_frames=9)
    )
    sample.set_data(dict(step_logits=torch.randn(2, 3), gt_label=torch.tensor(1)))
    metric = DumpResults(str(tmp_path / 'dump.pkl'))
    metric.process(None, [sample.to_dict()])
    metric.evaluate(1)
    assert_same(read_predictions(tmp_path / 'dump.pkl'), [sample.to_dict()])


def test_older_numpy_is_read(tmp_path):
    data = pickle.dumps([dict(a=np.arange(3), b=np.float32(2))], 2)
    assert b'numpy._core' in data  # protocol 2 writes names as lines, without their lengths
    (tmp_path / 'dump.pkl').write_bytes(data.replace(b'numpy._core', b'numpy.core'))
    [found] = read_predictions(tmp_path / 'dump.pkl')
    assert found['a'].tolist() == [0, 1, 2] and found['b'] == 2


class Calls:
    """Pickled, it calls ``function`` on loading."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def hidden_in_a_storage(program: Calls) -> Calls:
    """torch's own function would unpickle these bytes without a question."""
    return Calls(torch.storage._load_from_bytes, pickle.dumps(program))


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize(
    'hide',
    [
        lambda program: program,
        lambda program: [dict(video_id='7', centres=program)],
        lambda program: [clip(), program],
        hidden_in_a_storage,
    ],
)
def test_a_hidden_program_is_refused_and_does_not_run(tmp_path, protocol, hide):
    ran = tmp_path / 'ran'
    for function, args, name in (
        (os.system, (f'touch {ran}',), 'posix.system|nt.system'),
        (os.mkdir, (str(ran),), 'mkdir'),
        (exec, (f'open({str(ran)!r}, "w").close()',), 'builtin'),
        (eval, (f'open({str(ran)!r}, "w").close()',), 'builtin'),
    ):
        (tmp_path / 'dump.pkl').write_bytes(pickle.dumps(hide(Calls(function, *args)), protocol))
        with pytest.raises(PredictionsError, match='dump.pkl') as error:
            read_predictions(tmp_path / 'dump.pkl')
        assert not ran.exists() and 'tools/test.py' in str(error.value)
        if hide is not hidden_in_a_storage:
            assert any(part in str(error.value) for part in name.split('|')), error.value
            assert 'could run a program' in str(error.value)


@pytest.mark.parametrize(
    'value, told',
    [
        (Path('x'), 'pathlib'),
        (np.array([object()], dtype=object), 'instead of numbers'),
        (np.array(['a']), 'instead of numbers'),
        (np.zeros(1, [('a', 'f4')]), 'instead of numbers'),
        ({1, 2}, 'set'),
        (slice(1), 'slice'),
        (len, 'len'),
        (torch.nn.Linear(1, 1), 'Linear'),
        (Calls(torch.Size, 7), 'TypeError'),
        (Calls(np.ndarray, (1,), object, b'x' * 8), 'object'),
        (Calls(torch.load, 'x'), 'torch.serialization.load'),
        (Calls(torch._utils._rebuild_tensor_v2, 1, 2, 3, 4, 5, 6), 'AttributeError'),
    ],
)
def test_what_is_no_part_of_predictions_is_named(tmp_path, value, told):
    (tmp_path / 'dump.pkl').write_bytes(pickle.dumps([dict(value=value)]))
    with pytest.raises(PredictionsError, match=told):
        read_predictions(tmp_path / 'dump.pkl')


def test_what_a_pickle_may_call_it_cannot_change(tmp_path):
    rebuild = b'ctorch._utils\n_rebuild_tensor_v2\n'
    for state in (b'}S"x"\nI1\ns', b'(N}S"__defaults__"\n(I1\ntst'):  # a dict of attributes; and one of slots
        data = b'\x80\x02' + rebuild + state + b'b.'
        pickletools.dis(data, out=open(os.devnull, 'w'))
        (tmp_path / 'dump.pkl').write_bytes(data)
        with pytest.raises(PredictionsError, match='a change of what it calls'):
            read_predictions(tmp_path / 'dump.pkl')
    assert (
        torch._utils._rebuild_tensor_v2.__defaults__ is None
        or 1 not in torch._utils._rebuild_tensor_v2.__defaults__
    )
    assert not hasattr(torch._utils._rebuild_tensor_v2, 'x')


def test_a_list_that_holds_itself(tmp_path):
    clips: list = [dict()]
    clips[0]['again'] = clips
    (tmp_path / 'dump.pkl').write_bytes(pickle.dumps(clips))
    with pytest.raises(PredictionsError, match='RecursionError'):
        read_predictions(tmp_path / 'dump.pkl')


@pytest.mark.parametrize(
    'value, told',
    [
        ({}, 'a dict, not a list'),
        ([1], 'a list, not a list with a dict'),
        (None, 'NoneType'),
        (torch.zeros(2), 'Tensor'),
    ],
)
def test_other_content(tmp_path, value, told):
    (tmp_path / 'dump.pkl').write_bytes(pickle.dumps(value))
    with pytest.raises(PredictionsError, match=told):
        read_predictions(tmp_path / 'dump.pkl')


def test_a_missing_file(tmp_path):
    with pytest.raises(
        FileNotFoundError, match='no predictions at .*none.pkl; make the file with tools/test.py'
    ):
        read_predictions(tmp_path / 'none.pkl')


WHOLE = pickle.dumps([clip()])


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@settings(max_examples=150)
@given(st.data())
def test_damaged_bytes_are_a_prediction_error_or_harmless(tmp_path_factory, data):
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(damaged)))
    file = tmp_path_factory.getbasetemp() / 'damaged.pkl'
    file.write_bytes(bytes(damaged[:end]) if data.draw(st.booleans()) else bytes(damaged))
    try:
        read_predictions(file)
    except PredictionsError as error:
        assert 'damaged.pkl' in str(error)
