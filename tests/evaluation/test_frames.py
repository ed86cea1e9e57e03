"""Ways from frames to a clip, against loops."""

import torch

from gfvideo.evaluation import running_answers, ways_over_frames


def test_every_way_is_the_weighted_mean_it_says():
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    ways = ways_over_frames(logits, last=(1, 2, 5))
    assert list(ways) == ['mean', 'rising', 'sure', 'last 1', 'last 2']  # of 5 frames the last 5 are all
    for n in range(3):
        sure = [float(frame.softmax(0).max()) for frame in logits[n]]
        weights = dict(mean=[1] * 5, rising=[1, 2, 3, 4, 5], sure=sure)
        weights |= {'last 1': [0, 0, 0, 0, 1], 'last 2': [0, 0, 0, 1, 1]}
        for name, weight in weights.items():
            expected = sum(w * frame for w, frame in zip(weight, logits[n])) / sum(weight)
            torch.testing.assert_close(ways[name][n], expected)


def test_running_answers_are_means_of_the_frames_so_far():
    logits = torch.randn(3, 5, 4)
    for t, answer in enumerate(running_answers(logits).unbind(1)):
        torch.testing.assert_close(answer, logits[:, : t + 1].mean(1))
