"""The toy set: its form, that it comes back the same, and that what, how and where are readable where they
should be and nowhere else."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from data_prep import something_something, toy
from data_prep.common import command

SCRIPT = Path(toy.__file__).resolve()
COUNTS = {'train': 12, 'validation': 6, 'test': 6}
SMALL = {'train': 12, 'val': 6, 'test': 6, 'size': 96, 'frames': 4, 'workers': 1}


def decode(file: Path | bytes) -> np.ndarray:
    """(frames, height, width, 3) RGB."""
    with av.open(io.BytesIO(file) if isinstance(file, bytes) else str(file)) as container:
        assert float(container.streams.video[0].average_rate) == toy.FRAMES_PER_SECOND
        return np.stack([frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)])


def read_list(folder: Path, name: str) -> list | dict:
    return json.loads((folder / f'something-something-v2-{name}.json').read_text())


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set that no test changes."""
    return toy.generate(tmp_path_factory.mktemp('toy') / 'set', **SMALL)


# ---------------------------------------------------------------- form


def test_lists_have_the_form_of_something_something_v2(made: Path) -> None:
    labels = read_list(made, 'labels')
    assert list(labels.values()) == [str(number) for number in range(6)] and list(labels) == sorted(labels)
    for split in ('train', 'validation'):
        rows = read_list(made, split)
        assert [list(row) for row in rows] == [['id', 'label', 'template', 'placeholders']] * COUNTS[split]
        for row in rows:
            assert toy.class_name(row['template']) in labels
            assert row['label'] == re.sub(r'\[.*\]', row['placeholders'][0], row['template']).lower()
        shown = [toy.class_name(row['template']) for row in rows]
        assert all(shown.count(name) == COUNTS[split] // 6 for name in labels)
    test = read_list(made, 'test')
    assert [list(row) for row in test] == [['id']] * 6
    answers = [line.split(';') for line in (made / 'test-answers.csv').read_text().splitlines()]
    assert [row['id'] for row in test] == [clip for clip, _ in answers] and {
        name for _, name in answers
    } == set(labels)


def test_every_listed_clip_is_a_video_of_the_asked_size(made: Path) -> None:
    listed = [row['id'] for split in COUNTS for row in read_list(made, split)]
    assert len(set(listed)) == 24
    assert sorted(file.name for file in (made / 'videos').iterdir()) == sorted(
        f'{clip}.webm' for clip in listed
    )
    for clip in listed[::5]:
        assert decode(made / 'videos' / f'{clip}.webm').shape == (4, 96, 96, 3)


def test_objects_say_where_the_disc_is(made: Path) -> None:
    with open(made / 'objects.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [int(row['frame']) for row in rows] == [0, 1, 2, 3] * 24
    for row in rows[:64:3]:  # the disc is the only thing redder than it is green
        frame = decode(made / 'videos' / f'{row["id"]}.webm')[int(row['frame'])].astype(float)
        x, y = found_disc(cv2.GaussianBlur(frame, (0, 0), 3))
        assert np.hypot(x + 0.5 - float(row['x']), y + 0.5 - float(row['y'])) < float(row['diameter']) / 4


def found_disc(frame: np.ndarray) -> tuple[int, int]:
    """Where ``frame``, float (H, W, 3), is warmest: (x, y) in pixels."""
    warmth = frame[..., 0] - frame[..., 1]
    y, x = np.unravel_index(warmth.argmax(), warmth.shape)
    return int(x), int(y)


def test_the_preparation_script_reads_it(made: Path, tmp_path: Path) -> None:
    flags = {
        '--videos': made / 'videos',
        '--annotations': made,
        '--out': tmp_path,
        '--workers': 1,
        '--to': 'original',
    }
    assert command.run(something_something.main, [str(word) for flag in flags.items() for word in flag]) == 0
    manifest = json.loads((tmp_path / 'dataset.json').read_text())
    assert {split: info['present'] for split, info in manifest['splits'].items()} == {
        'train': 12,
        'val': 6,
        'test': 6,
    }
    assert manifest['classes'] == list(read_list(made, 'labels'))


# ---------------------------------------------------------------- the same again, going on, replacing


def test_a_clip_depends_on_settings_and_id_alone(made: Path) -> None:
    settings = toy.Settings(96, 4, 0)
    once, again, other = (
        toy.make_clip(s, 'train', 3)[0] for s in (settings, settings, toy.Settings(96, 4, 1))
    )
    np.testing.assert_array_equal(once, again)
    assert np.abs(once.astype(int) - other).mean() > 5
    assert np.abs(once.astype(int) - toy.make_clip(settings, 'validation', 3)[0]).mean() > 5
    fewer = toy.lists(settings, {'train': 5, 'validation': 3, 'test': 2})
    assert json.loads(fewer['something-something-v2-train.json']) == read_list(made, 'train')[:5]
    rounded = np.abs(once.astype(int) - decode(made / 'videos' / '100003.webm')).mean()
    assert rounded < 6  # the file of that id holds these pixels


def test_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    few = SMALL | {'train': 4, 'val': 2, 'test': 0}
    toy.generate(tmp_path, **few)
    kept, lost = (tmp_path / 'videos' / f'{clip}.webm' for clip in (100000, 100002))
    before, content = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    for left in ('.100003.webm.0123abcd.tmp', '100003.webm.123.tmp'):  # of now, and of earlier versions
        (tmp_path / 'videos' / left).write_bytes(b'half')
    toy.generate(tmp_path, **few)
    assert kept.stat().st_mtime_ns == before and lost.read_bytes() == content
    toy.generate(tmp_path, **few | {'train': 3})
    assert sorted(os.listdir(tmp_path / 'videos')) == [
        '100000.webm',
        '100001.webm',
        '100002.webm',
        '200000.webm',
        '200001.webm',
    ]
    assert kept.stat().st_mtime_ns == before
    (tmp_path / 'mine.txt').write_text('stays')
    toy.generate(tmp_path, **few | {'seed': 1})
    assert lost.read_bytes() != content and (tmp_path / 'mine.txt').read_text() == 'stays'


def test_lists_appear_only_when_the_videos_are_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = SMALL | {'train': 2, 'val': 0, 'test': 0}
    toy.generate(tmp_path, **few)
    monkeypatch.setattr(toy, 'encode', lambda frames: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError, match='disk full'):
        toy.generate(tmp_path, **few | {'train': 3})
    assert sorted(os.listdir(tmp_path)) == ['toy.json', 'videos']
    assert sorted(os.listdir(tmp_path / 'videos')) == ['100000.webm', '100001.webm']


@pytest.mark.parametrize('content', ['notes.txt', 'toy.json'])
def test_leaves_the_folders_of_others_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / content).write_text('{}')
    with pytest.raises(FileExistsError, match='not made by toy.py'):
        toy.generate(tmp_path, **SMALL)
    assert os.listdir(tmp_path) == [content]


@pytest.mark.parametrize(
    ('name', 'value'),
    [('train', -1), ('size', 64), ('size', 97), ('frames', 1), ('seed', -1), ('workers', 0)],
)
def test_names_the_argument_out_of_range(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f'{name} is {value}; give'):
        toy.generate(tmp_path / 'none', **SMALL | {name: value})
    assert not (tmp_path / 'none').exists()


def test_command_line(tmp_path: Path) -> None:
    def call(*options: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, str(SCRIPT), *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=1500,
        )

    size = ('--train', '17', '--val', '1', '--test', '1', '--size', '96', '--frames', '2', '--workers', '2')
    done = call('--out', 'set', *size)
    assert done.returncode == 0, done.stderr
    assert '19 of 19 clips' in done.stderr and '17 training, 1 validation, 1 test' in done.stdout
    assert len(os.listdir(tmp_path / 'set' / 'videos')) == 19
    refused = call('--out', '.', *size)
    assert (
        refused.returncode == 1
        and 'not made by toy.py' in refused.stderr
        and 'Traceback' not in refused.stderr
    )


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle(tmp_path: Path, number: int) -> None:
    """A terminal sends it to all processes: the workers, some of which still import, say nothing."""
    command = [
        sys.executable,
        str(SCRIPT),
        '--out',
        str(tmp_path / 'set'),
        '--train',
        '4000',
        '--val',
        '0',
        '--test',
        '0',
        '--size',
        '96',
        '--frames',
        '2',
        '--workers',
        '2',
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in (signal.SIGINT, signal.SIGTERM)],
    )
    while not list(tmp_path.glob('set/videos/*.webm')):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    said = process.communicate(timeout=1500)[1]
    assert process.returncode == 128 + number and 'Traceback' not in said, said
    assert said.splitlines()[-1].startswith('stopped; the same command goes on where it was') and not list(
        tmp_path.rglob('*.tmp')
    )


# ---------------------------------------------------------------- what, how, where


def test_left_is_right_played_backwards() -> None:
    """So the frames as a bag are the same, and nothing but their order tells the direction."""
    settings, (right, left) = toy.Settings(96, 5, 0), toy.MOTIONS
    for what in toy.TEXTURES:
        clips = [toy.draw_clip(np.random.default_rng(7), settings, (what,), how) for how in (right, left)]
        np.testing.assert_array_equal(clips[0][0], clips[1][0][::-1])
        np.testing.assert_array_equal(clips[0][1], clips[1][1][::-1])
    moved = np.diff(clips[0][1][:, 0, 0])
    assert (moved > 0).sum() >= 3  # to the right, but for at most one start at the other side


@pytest.fixture(scope='module')
def centres() -> tuple[np.ndarray, np.ndarray]:
    """Centres (clips, 16, 2) in [0, 1] of where a disc fits, and how they move (clips,): 0 right, 1 left."""
    settings = toy.Settings(128, 16, 3)
    places = np.stack([toy.make_clip(settings, 'train', i, pixels=False)[1][:, 0] for i in range(800)])
    places = (places - settings.diameter / 2) / (settings.size - settings.diameter)
    return places, np.array([toy.class_of(settings, 'train', i) % 2 for i in range(800)])


def test_the_disc_is_anywhere_in_every_frame_of_every_class(centres: tuple[np.ndarray, np.ndarray]) -> None:
    places, how = centres
    assert places.min() >= 0 and places.max() <= 1
    for motion in (0, 1):
        for frame in (0, 7, 15):
            for axis in (0, 1):  # 400 clips: the standard error of a tenth is 0.015
                shares = np.histogram(places[how == motion, frame, axis], bins=10, range=(0, 1))[0] / 400
                assert 0.04 < shares.min() and shares.max() < 0.16
    share_in_middle = (np.abs(places - 0.5) < 1 / 8).all(axis=-1).mean()
    assert 0.04 < share_in_middle < 0.09  # 1/16 of the places


def test_the_disc_moves_by_pixels_of_the_glance_in_each_sampled_frame(
    centres: tuple[np.ndarray, np.ndarray],
) -> None:
    places, how = centres
    # pixels of a 32x32 glance, 8 frames a clip
    steps = np.median(np.diff(places[:, ::2, 0], axis=1), axis=1) * (1 - toy.DIAMETER) * 32
    assert np.abs(steps).min() > 1.5 and np.abs(steps).max() < 3
    np.testing.assert_array_equal(steps < 0, how == 1)


@pytest.fixture(scope='module')
def clips() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """120 clips after the codec, (clips, 4, 128, 128, 3); centres of the disc (clips, 4, 2); classes
    (clips,)."""
    settings = toy.Settings(128, 4, 5)
    drawn = [toy.make_clip(settings, 'train', i) for i in range(120)]
    frames = np.stack([decode(toy.encode(frames)) for frames, _ in drawn])
    return (
        frames,
        np.stack([places[:, 0] for _, places in drawn]),
        np.array([toy.class_of(settings, 'train', i) for i in range(120)]),
    )


def patches(frames: np.ndarray, places: np.ndarray, side: int) -> np.ndarray:
    """Squares around ``places`` of clips (n, t, H, W, 3), moved into the frame: brightness, float (n, t,
    side, side)."""
    light = frames.astype(float) @ np.array([0.299, 0.587, 0.114])
    corners = np.clip(np.rint(places - side / 2).astype(int), 0, frames.shape[2] - side)
    return np.stack(
        [
            [picture[y : y + side, x : x + side] for picture, (x, y) in zip(*clip)]
            for clip in zip(light, corners)
        ]
    )


def slopes(patches: np.ndarray) -> np.ndarray:
    """How strongly each patch changes along four directions, as shares of the whole: (n, t, H, W) -> (n, 4),
    the mean over frames."""
    ahead = [(0, 1), (1, 0), (1, 1), (1, -1)]
    inner = patches[..., 1:-1, 1:-1]
    moved = [np.roll(patches, step, axis=(-2, -1))[..., 1:-1, 1:-1] for step in ahead]
    changes = np.stack([((picture - inner) ** 2).mean(axis=(1, 2, 3)) for picture in moved], axis=-1)
    return changes / changes.sum(axis=-1, keepdims=True)


def nearest_mean_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Share of the second half that lies nearest to its class's mean over the first half."""
    half = len(labels) // 2
    spread = features[:half].std(axis=0)
    means = np.stack([features[:half][labels[:half] == label].mean(axis=0) for label in np.unique(labels)])
    distances = (((features[half:, None] - means) / spread) ** 2).sum(axis=-1)
    return float((distances.argmin(axis=1) == labels[half:]).mean())


def small(frames: np.ndarray, side: int) -> np.ndarray:
    """Clips (n, t, H, W, 3) seen small, as a model glances at them: float (n, t, side, side, 3)."""
    shrunk = torch.nn.functional.interpolate(
        torch.from_numpy(frames).flatten(0, 1).permute(0, 3, 1, 2).float(),
        (side, side),
        mode='bilinear',
        antialias=True,
        align_corners=False,
    )  # (n t, 3, side, side)
    return shrunk.permute(0, 2, 3, 1).unflatten(0, frames.shape[:2]).numpy()


def test_what_is_read_from_a_patch_at_the_disc_and_nowhere_else(
    clips: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    frames, places, labels = clips
    what = labels // 2
    assert nearest_mean_accuracy(slopes(patches(frames, places, 32)), what) > 0.95
    assert nearest_mean_accuracy(slopes(patches(frames, places, 24)), what) > 0.95
    elsewhere = (places + 64) % 128
    # chance 0.33, standard error 0.06
    assert nearest_mean_accuracy(slopes(patches(frames, elsewhere, 24)), what) < 0.55


@pytest.mark.parametrize('side', [32, 48])
def test_what_is_gone_in_a_small_frame(clips: tuple[np.ndarray, np.ndarray, np.ndarray], side: int) -> None:
    frames, places, labels = clips
    seen = patches(small(frames, side), places * side / 128, side * 6 // 32)
    assert nearest_mean_accuracy(slopes(seen), labels // 2) < 0.55


def test_what_is_read_from_the_whole_frame_at_full_resolution(
    clips: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """The strongest answer of three banks of wave filters, anywhere in the frame, names the texture."""
    frames, _, labels = clips
    light = frames[:, 0].astype(np.float32) @ np.float32([0.299, 0.587, 0.114])
    banks = [
        [filter_of(what, phases) for phases in itertools.product((0, np.pi / 2), repeat=2)]
        for what in toy.TEXTURES
    ]
    answers = [
        [sum(cv2.filter2D(picture, cv2.CV_32F, one) ** 2 for one in bank).max() for picture in light]
        for bank in banks
    ]
    assert (np.argmax(answers, axis=0) == labels // 2).mean() > 0.95


def filter_of(what: str, phases: tuple[float, float]) -> np.ndarray:
    """A texture under a soft window of 12 x 12 pixels, of mean 0 and root sum of squares 1."""
    y, x = np.mgrid[:12, :12] - 5.5
    wave = toy.texture(what, x, y, toy.PERIOD * 128, phases) * np.exp(-(x**2 + y**2) / 18)
    return (wave - wave.mean()) / np.linalg.norm(wave - wave.mean())


def test_where_and_how_are_read_from_the_small_frames_in_order(
    clips: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    frames, places, labels = clips
    glances = small(frames, 32)
    # (n, t, 2)
    found = np.array(
        [[found_disc(cv2.GaussianBlur(glance, (0, 0), 1)) for glance in clip] for clip in glances]
    )
    offsets = np.abs((found + 0.5) * 4 - places).max(axis=-1)
    assert (offsets < 10).mean() > 0.97  # a 24 pixel patch cut there holds most of the texture
    # between 4 frames the disc moves 16 pixels or more, and starts at the other side at most once
    assert ((np.median(np.diff(found[..., 0], axis=1), axis=1) < 0) == (labels % 2 == 1)).mean() > 0.95


# ---------------------------------------------------------------- two discs


def test_two_discs_stand_apart_and_the_class_is_which_two(tmp_path: Path) -> None:
    folder = toy.generate(tmp_path / 'two', **SMALL, objects=2)
    settings = toy.Settings(96, 4, 0, objects=2)
    labels = list(read_list(folder, 'labels'))
    pairs = ['checks', 'level stripes', 'upright stripes']
    assert len(labels) == 6 and labels == sorted(labels)
    for first, second in itertools.combinations(pairs, 2):  # each two once, in both directions
        named = [name for name in labels if f'with {first}' in name and f'with {second}' in name]
        assert [name.split(' from ')[1] for name in named] == ['left to right', 'right to left']
        assert labels.index(named[0]) % 2 == 0  # so that the mirror's label map is that of one disc
    row = read_list(folder, 'train')[0]
    assert len(row['placeholders']) == 2 and toy.class_name(row['template']) in labels
    assert row['label'] == toy.class_name(row['template']).replace('something', 'a disc').lower()
    with open(folder / 'objects.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [line['object'] for line in rows[:4]] == ['0', '1', '0', '1'] and len(rows) == 24 * 4 * 2
    for number in range(12):
        frames, centres = toy.make_clip(settings, 'train', number)
        assert centres.shape == (4, 2, 2)
        assert np.hypot(*(centres[:, 0] - centres[:, 1]).T).min() >= 96 * toy.APART
        what = toy.kinds(settings)[toy.class_of(settings, 'train', number) // 2]
        for one, name in enumerate(what):  # each disc has the texture of its name: stripes change one way
            found = slopes(patches(frames[None], centres[None, :, one], 8))[0]
            sides = found[0] / found[:2].sum()
            assert sides > 0.7 if name == 'upright stripes' else sides < 0.7
            assert sides < 0.3 if name == 'level stripes' else sides > 0.3


def test_a_folder_of_one_disc_is_replaced_by_two_and_an_old_one_is_kept(tmp_path: Path) -> None:
    folder = toy.generate(tmp_path / 'set', **SMALL)
    marker = json.loads((folder / 'toy.json').read_text())
    del marker['settings']['objects']  # as written before there were two
    (folder / 'toy.json').write_text(json.dumps(marker))
    video = folder / 'videos/100000.webm'
    before, when = video.read_bytes(), video.stat().st_mtime_ns
    toy.generate(folder, **SMALL)
    assert video.stat().st_mtime_ns == when
    toy.generate(folder, **SMALL, objects=2)
    assert video.read_bytes() != before
    with pytest.raises(ValueError, match='objects is 3'):
        toy.generate(folder, **SMALL, objects=3)
