from __future__ import annotations

import numpy as np
import pytest
import torch

from gfvideo.data.preprocessor import ClipPreprocessor
from gfvideo.registry import MODELS
from gfvideo.structures import ClipSample

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def batch(shape=(2, 3, 5, 6), count=3):
    rng = np.random.default_rng(0)
    return {
        'inputs': [torch.from_numpy(rng.integers(0, 256, shape, np.uint8)) for _ in range(count)],
        'data_samples': [ClipSample(metainfo={'video_id': f'v{place}'}) for place in range(count)],
    }


def slow(clips, mean=MEAN, std=STD):
    out = np.stack([clip.numpy().astype(np.float64) for clip in clips])
    for channel in range(3):
        out[..., channel, :, :] = (out[..., channel, :, :] - mean[channel]) / std[channel]
    return out


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('shape', [(2, 3, 5, 6), (4, 2, 3, 5, 6)])
def test_values_and_shape(shape, channels_last):
    data = batch(shape)
    out = MODELS.build({'type': 'ClipPreprocessor', 'channels_last': channels_last})(data)
    assert out['inputs'].shape == (3, *shape)
    assert out['inputs'].dtype == torch.float32
    np.testing.assert_allclose(out['inputs'], slow(data['inputs']), atol=1e-5)
    assert [sample.video_id for sample in out['data_samples']] == ['v0', 'v1', 'v2']
    assert data['inputs'][0].dtype == torch.uint8, 'the batch that came in is left as it was'


def test_own_mean_and_std():
    data = batch()
    out = ClipPreprocessor(mean=[0, 1, 2], std=[255, 1, 4])(data)
    np.testing.assert_allclose(out['inputs'], slow(data['inputs'], (0, 1, 2), (255, 1, 4)), atol=1e-5)


def test_memory_format():
    images = ClipPreprocessor(channels_last=True)(batch())['inputs'].flatten(0, 1)  # (B*T, 3, H, W)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert ClipPreprocessor()(batch())['inputs'].is_contiguous()


def test_stacked_input_and_no_samples():
    data = batch()
    stacked = {'inputs': torch.stack(data['inputs'])}
    before = stacked['inputs'].clone()
    out = ClipPreprocessor()(stacked)
    assert out.keys() == {'inputs'}
    assert torch.equal(out['inputs'], ClipPreprocessor()(data)['inputs'])
    assert torch.equal(stacked['inputs'], before)


def test_different_sizes_name_the_videos():
    data = batch()
    data['inputs'][1] = data['inputs'][1][..., :4]
    with pytest.raises(
        ValueError,
        match=(
            r'different shapes in one batch: v0 \(2, 3, 5, 6\), v1 \(2, 3, 5, 4\), v2 \(2, 3, 5, 6\); .*crop'
        ),
    ):
        ClipPreprocessor()(data)
    del data['data_samples']
    with pytest.raises(ValueError, match=r'clip 0 \(2, 3, 5, 6\), clip 1 \(2, 3, 5, 4\)'):
        ClipPreprocessor()(data)


@pytest.mark.parametrize(
    'wrong',
    [
        torch.zeros(2, 3, 5, 6),
        torch.zeros(3, 5, 6, dtype=torch.uint8),
        torch.zeros(2, 5, 6, 3, dtype=torch.uint8),
    ],
)
def test_wrong_clips(wrong):
    data = batch()
    data['inputs'][2] = wrong
    with pytest.raises(ValueError, match=r'v2 is torch\.\w+ \(.*\); expected uint8 \(T, 3, H, W\)'):
        ClipPreprocessor()(data)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'mean': [1, 2]}, r'mean is \[1, 2\]'),
        ({'std': [1]}, r'std is \[1\]'),
        ({'std': [1, 0, 1]}, 'numbers above 0'),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClipPreprocessor(**arguments)


def test_nothing_of_it_is_in_checkpoints():
    assert not ClipPreprocessor().state_dict()


def test_moves_to_the_device_of_the_preprocessor():
    out = ClipPreprocessor().to('meta')(batch())
    assert out['inputs'].device.type == 'meta'
    assert out['inputs'].shape == (3, 2, 3, 5, 6)
