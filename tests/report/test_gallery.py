import base64
import json

import cv2
import numpy as np
import pytest

from gfvideo.apis import init_recognizer
from gfvideo.ops import crop_patches
from gfvideo.report import Gallery, Trained, evenly, read_run, strip_of
from gfvideo.report.answers import answers_of


def decoded(strip):
    data = base64.b64decode(strip['source'].removeprefix('data:image/webp;base64,'))
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.mark.parametrize(
    ('count', 'most', 'expected'),
    [(3, 5, [0, 1, 2]), (5, 5, [0, 1, 2, 3, 4]), (9, 3, [0, 4, 8]), (9, 1, [0]), (9, 0, []), (0, 4, [])],
)
def test_clips_are_spread_evenly(count, most, expected):
    assert evenly(count, most) == expected


def test_a_strip_holds_the_frames_in_their_order():
    frames = np.stack([np.full((40, 60, 3), 20 * t, np.uint8) for t in range(10)])
    strip = strip_of(frames, 100_000)
    assert (strip['columns'], strip['frames'], strip['height'], strip['width']) == (8, 10, 40, 60)
    picture = decoded(strip)
    assert picture.shape == (80, 480, 3)
    for t in range(10):
        y, x = t // 8 * 40 + 20, t % 8 * 60 + 30
        assert abs(int(picture[y, x].mean()) - 20 * t) < 8


def test_a_strip_keeps_to_its_bytes():
    frames = np.random.default_rng(0).integers(0, 255, (8, 200, 300, 3), dtype=np.uint8)
    large, small = (strip_of(frames, most) for most in (10**7, 20_000))
    assert (large['height'], large['width']) == (171, 256)
    assert len(small['source']) * 3 / 4 <= 20_100 and small['width'] < 256
    assert decoded(small).shape == (small['height'], 8 * small['width'], 3)


def test_windows_are_where_the_recognizer_cut(runs):
    run = read_run(runs.looks)
    answers, trained = answers_of(run), Trained(init_recognizer(checkpoint=run.checkpoint))
    gallery = Gallery(4, 10**6)
    gallery.add(run, answers, trained)
    (told,) = gallery.runs
    assert [clip['id'] for clip in told['clips']] == ['test0', 'test6', 'test11', 'test17']
    assert (told['all'], told['looks'], told['glance']) == (18, 2, (16, 16))
    dumped = {clip['video_id']: clip for clip in answers.clips}
    import torch

    for clip in told['clips']:
        frames = torch.from_numpy(trained.frames(dumped[clip['id']])).permute(0, 3, 1, 2)[None].float()
        for look, places in enumerate(clip['windows']):
            cut = crop_patches(frames, dumped[clip['id']]['centres'][look][None], (24, 24))[0]
            for t, (top, left, height, width) in enumerate(places):
                y, x, h, w = round(top * 48), round(left * 64), round(height * 48), round(width * 64)
                assert torch.equal(frames[0, t, :, y : y + h, x : x + w], cut[t])
    json.dumps(gallery.runs, allow_nan=False)


def test_two_runs_show_the_same_clips_and_keep_their_pictures_once(runs):
    gallery = Gallery(5, 10**6)
    for number, folder in enumerate((runs.looks, runs.static)):
        run = read_run(folder)
        trained = Trained(init_recognizer(checkpoint=folder / 'last.pth'))
        gallery.add(run, answers_of(run), trained, 2 - number)
    first, second = ([clip['id'] for clip in told['clips']] for told in gallery.runs)
    assert first == second and len(gallery.videos) == 5
    assert all(clip['windows'] is None and clip['exit'] is None for clip in gallery.runs[1]['clips'])


def test_videos_that_are_gone_leave_answers_without_pictures(runs):
    run = read_run(runs.looks)
    answers = answers_of(run)
    for clip in answers.clips:
        clip['path'] = clip['path'].replace('clips', 'gone')
    gallery = Gallery(3, 10**6)
    gallery.add(run, answers, Trained(init_recognizer(checkpoint=run.checkpoint)))
    assert [clip['video'] for clip in gallery.runs[0]['clips']] == [None] * 3 and not gallery.videos
    assert run.faults[0].startswith('3 of 3 clips have no pictures')
