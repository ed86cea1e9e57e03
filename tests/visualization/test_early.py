"""Pictures of clips that were not looked at to the end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gfvideo.structures import ClipSample
from gfvideo.visualization import draw_looks, draw_sample

T, S, CLASSES = 4, 2, ['a', 'b', 'c']
SIZES = dict(patch_size=(24, 20), glance_size=(16, 16))
LOGITS = torch.tensor([1.0, 2.0, 0.5])


def clip(**data) -> tuple[torch.Tensor, ClipSample]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 255, (T, 3, 60, 80), dtype=torch.uint8, generator=generator)
    sample = ClipSample(metainfo=dict(video_id='v', frame_indices=[0, 3, 6, 9]))
    centres = torch.rand(S, T, 2, generator=generator)
    sample.set_data(dict(logits=LOGITS, centres=centres, gt_label=torch.tensor(1)) | data)
    return inputs, sample


def expected(inputs, centres, frames, title) -> np.ndarray:
    said = [*[None] * (0 if centres is None else len(centres)), ('b', float(LOGITS.softmax(0)[1]))]
    return draw_looks(
        inputs[:frames].permute(0, 2, 3, 1).numpy(),
        centres,
        SIZES['patch_size'],
        said,
        title=title,
        label='b',
        glance_size=SIZES['glance_size'],
        frame_indices=[0, 3, 6, 9][:frames],
    )


@pytest.mark.parametrize(
    ('exit_at', 'told'), [(0, 'left after the glance'), (1, 'left after look 1'), (2, 'left after look 2')]
)
def test_a_clip_shows_the_looks_that_it_took(exit_at, told):
    inputs, sample = clip(exit=torch.tensor(exit_at), looks=torch.tensor(exit_at))
    taken = sample.centres[:exit_at].clone() if exit_at else None
    sample.centres[exit_at:] = torch.nan
    drawn = draw_sample(inputs, sample, CLASSES, **SIZES)
    assert np.array_equal(drawn, expected(inputs, taken, T, f'v ({told} of {S} looks)'))


def test_a_stream_shows_the_frames_that_were_read():
    inputs, sample = clip(exit=torch.tensor(2), looks=torch.tensor([2, 1, 0, -1]))
    for t, looks in enumerate((2, 1, 0, 0)):
        sample.centres[looks:, t] = torch.nan
    drawn = draw_sample(inputs, sample, CLASSES, **SIZES)
    assert np.array_equal(
        drawn, expected(inputs, sample.centres[:, :3], 3, f'v (stopped after frame 3 of {T})')
    )


def test_a_network_without_looks_has_nothing_to_leave_out():
    inputs, sample = clip(exit=torch.tensor(0))
    del sample.centres
    drawn = draw_sample(inputs, sample, CLASSES, glance_size=SIZES['glance_size'])
    assert np.array_equal(drawn, expected(inputs, None, T, 'v'))
