from __future__ import annotations

import csv
import os
import signal
import struct
import sys
import textwrap

import cv2
import numpy as np
import pytest

from data_prep.common import checking
from data_prep.common.checking import Checker, Verdict, check, check_frames, check_video
from data_prep.common.reporting import REMEDIES


@pytest.fixture(scope='module')
def checker():
    with Checker() as one:
        yield one


def test_odd_videos(shared, checker):
    folder = shared / 'data' / 'odd_videos'
    with (folder / 'index.csv').open() as lines:
        rows = {row['file']: row for row in csv.DictReader(lines)}
    damaged = {'header_50_frames_49_decode.mp4': 'decode_error'}  # 49 of 50 decode, with errors
    for name, row in rows.items():
        verdict = checker(str(folder / name))
        assert verdict.reason == damaged.get(name), (name, verdict)
        if verdict.reason is None:
            assert (verdict.frames, verdict.height, verdict.width, verdict.rotation) == tuple(
                int(row[key]) for key in ('frames_that_decode', 'height_shown', 'width_shown', 'rotation')
            ), name
            assert verdict.codec == row['codec'] and verdict.rate > 0
        else:
            assert row['frames_that_decode'] in verdict.detail and str(folder) not in verdict.detail


def test_painted_clips(clip, checker):
    assert checker(str(clip(7))) == Verdict(7, 32, 128, 25.0, codec='h264')
    verdict = checker(str(clip(5, '.webm')))
    assert (verdict.frames, verdict.height, verdict.width, verdict.codec, verdict.reason) == (
        5,
        32,
        128,
        'vp9',
        None,
    )
    assert checker(str(clip(6, times=(0, 1, 2, 10, 11, 30)))).frames == 6


@pytest.mark.parametrize(
    ('matrix', 'size'),
    [
        ((1, 0, 0, 1), (32, 128)),
        ((-1, 0, 0, 1), (32, 128)),
        ((0, 1, 1, 0), (128, 32)),
        ((0, -1, 1, 0), (128, 32)),
        ((1, 0, 0.5, 1), None),
        ((1, 0.5, 0, 1), None),
        ((0.7, 0.7, -0.7, 0.7), None),
    ],
)
def test_orientations(clip, checker, tmp_path, matrix, size):
    """As shown, turned or mirrored by the header of the track; what is neither is refused."""
    content = bytearray(clip(7).read_bytes())
    at = content.index(b'tkhd') + 4 + 40
    a, b, c, d = (round(value * 65536) for value in matrix)
    content[at : at + 36] = struct.pack('>9i', a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / 'x.mp4').write_bytes(content)
    verdict = checker(str(tmp_path / 'x.mp4'))
    if size is None:
        assert verdict.reason == 'decode_error' and 'sheared; encode it upright' in verdict.detail
    else:
        assert (verdict.reason, (verdict.height, verdict.width)) == (None, size)


@pytest.mark.parametrize(
    ('name', 'content', 'reason'),
    [
        ('empty.mp4', b'', 'empty'),
        ('page.mp4', b'<!DOCTYPE html><html>not found</html>', 'not_a_video'),
        ('noise.webm', b'\x07' * 5000, 'not_a_video'),
    ],
)
def test_what_is_no_video(tmp_path, checker, name, content, reason):
    (tmp_path / name).write_bytes(content)
    verdict = checker(str(tmp_path / name))
    assert verdict.reason == reason
    assert str(tmp_path) not in verdict.detail  # the same damage elsewhere gives the same words
    assert checker(str(tmp_path / '..' / tmp_path.name / name)) == verdict


def test_what_is_not_there(tmp_path, checker):
    assert checker(str(tmp_path / 'no.mp4')).reason == 'missing'
    assert checker(str(tmp_path / 'no'), 'frames').reason == 'missing'
    (tmp_path / 'folder.mp4').mkdir()
    assert checker(str(tmp_path / 'folder.mp4')).reason in REMEDIES


def test_permission_denied(monkeypatch, clip):
    def denied(path):
        raise PermissionError(13, 'Permission denied', path)

    monkeypatch.setitem(checking.CHECKS, 'video', denied)
    assert check(str(clip()), 'video') == Verdict.bad('unreadable', 'Permission denied')


def test_whatever_a_decoder_throws(monkeypatch, clip):
    def surprised(path):
        raise KeyError(path)

    monkeypatch.setitem(checking.CHECKS, 'video', surprised)
    verdict = check(str(clip()), 'video')
    assert (
        verdict.reason == 'decode_error'
        and 'KeyError' in verdict.detail
        and str(clip().parent) not in verdict.detail
    )


# ---- the process that decodes


@pytest.fixture
def strange(tmp_path, monkeypatch):
    """A checker whose process does to a clip what the clip's name says."""
    program = tmp_path / 'checking.py'
    program.write_text(
        textwrap.dedent(f"""
        import os, signal, sys, time
        sys.path.insert(0, {str(checking.ROOT)!r})
        from pathlib import Path
        from data_prep.common import checking

        def check(path, kind):
            if 'crash' in path:
                os.kill(os.getpid(), signal.SIGSEGV)
            if 'hang' in path:
                time.sleep(3000)
            if 'exit' in path:
                os._exit(3)
            if 'babble' in path:
                print('not an answer', flush=True)
                os.system('echo nor this')
            tries = Path({str(tmp_path)!r}, 'tries')
            if 'killed' in path:
                with tries.open('a') as file:
                    file.write('x')
            if 'killed' in path and (len(tries.read_text()) < 2 or 'always' in path):
                os.kill(os.getpid(), signal.SIGTERM if 'cluster' in path else signal.SIGKILL)
            return checking.Verdict(1, 2, 3, detail=f'process {{os.getpid()}}' if 'who' in path else '')

        checking.check = check
        checking.serve()
    """)
    )
    monkeypatch.setattr(checking, 'PROGRAM', (sys.executable, str(program)))
    with Checker() as one:
        yield one


def pid_of(checker: Checker) -> int:
    return int(checker('/who.mp4').detail.removeprefix('process '))


def test_a_crash_or_a_hang_costs_one_clip(strange, tmp_path):
    good = Verdict(1, 2, 3)
    assert strange('/good.mp4') == good
    first = pid_of(strange)
    assert strange('/crash.mp4') == Verdict.bad(
        'decode_error', f'the decoder crashed (status {-signal.SIGSEGV})'
    )
    assert strange('/good.mp4') == good
    assert strange('/hang.mp4', time_limit=0.5) == Verdict.bad('timeout', 'not decoded after 0.5 s')
    assert strange('/good.mp4') == good
    assert strange('/exit.mp4').reason == 'decode_error'
    assert strange('/babble.mp4') == good
    assert pid_of(strange) != first
    assert strange('/killed.mp4') == good  # at the second try: something else killed it
    assert strange('/killed-always.mp4').reason == 'killed'
    (tmp_path / 'tries').unlink()
    # which sends SIGTERM to all processes of a job that is over
    assert strange('/killed by the cluster.mp4') == good
    assert strange('/name with "quotes"\n\\ and ü.mp4') == good


def test_a_process_that_died_while_nothing_was_asked(strange):
    files = len(os.listdir('/dev/fd'))
    first = pid_of(strange)
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert strange('/good.mp4') == Verdict(1, 2, 3)
    second = pid_of(strange)
    os.kill(second, signal.SIGKILL)  # and again, this time unnoticed until it is written to
    third = pid_of(strange)
    strange.close()
    for pid in {first, second, third}:
        with pytest.raises(ChildProcessError):  # nobody is left to be waited for
            os.waitpid(pid, os.WNOHANG)
    assert len({first, second, third}) == 3 and len(os.listdir('/dev/fd')) == files


# ---- folders of images


def picture(number: int = 0, height: int = 32, width: int = 48) -> bytes:
    pixels = np.full((height, width, 3), number * 7 % 256, np.uint8)
    pixels[::2, number % width :] = 200
    return cv2.imencode('.jpg', pixels)[1].tobytes()


@pytest.fixture
def frames(tmp_path, lay):
    def make(*names: str, **more: bytes):
        return str(
            lay(tmp_path / 'f', {**{name: picture(number) for number, name in enumerate(names)}, **more})
        )

    return make


@pytest.mark.parametrize(
    ('template', 'start', 'count'),
    [
        ('{:05d}.jpg', 1, 12),
        ('{:05d}.jpg', 0, 3),
        ('img_{:05d}.jpg', 1, 3),
        ('{:d}.jpg', 1, 12),
        ('{:d}.jpg', 0, 2),
        ('image {:03d}.jpeg', 1, 2),
        ('a{{b}}d}}{{:x_{:02d}.jpg', 1, 3),
        ('100%d_{:04d}.jpg', 1, 2),
        ('v_HandStand_g01_c02_{:04d}.jpg', 1, 3),
        ('{:06d}.JPG', 1, 2),
        ('x\n{:02d}.jpg', 0, 1),
    ],
)
def test_numbered_images(frames, template, start, count):
    folder = frames(*(template.format(number) for number in range(start, start + count)))
    verdict = check_frames(folder)
    assert (verdict.reason, verdict.frames, verdict.height, verdict.width, verdict.start) == (
        None,
        count,
        32,
        48,
        start,
    )
    assert all(verdict.template.format(n) == template.format(n) for n in range(start, start + count))


def test_stray_files_do_not_count(frames):
    folder = frames(
        '00001.jpg',
        '00002.jpg',
        **{'Thumbs.db': b'x', '.DS_Store': b'x', '._00003.jpg': b'x', 'list.txt': b'1'},
    )
    assert (check_frames(folder).reason, check_frames(folder).frames) == (None, 2)


@pytest.mark.parametrize(
    ('names', 'reason', 'words'),
    [
        (
            ('00001.jpg', '00003.jpg', '00006.jpg'),
            'missing_frames',
            '3 of 6 images are missing, e.g. 2, 4, 5',
        ),
        (('00003.jpg', '00004.jpg'), 'missing_frames', '2 of 4 images are missing, e.g. 1, 2'),
        (('00001.jpg', '2.jpg'), 'missing_frames', "'2.jpg' is not named like the others, '00001.jpg'"),
        (('00001.jpg', '1.jpg'), 'missing_frames', 'is not named like the others'),
        (('00001.jpg', '00002.png'), 'missing_frames', "'00002.png' is not named"),
        (('00001.jpg', 'cover.jpg'), 'missing_frames', "'cover.jpg' is not named"),
        (('cover.jpg',), 'empty', 'no numbered image'),
        ((), 'empty', 'no numbered image'),
    ],
)
def test_wrong_folders(frames, tmp_path, names, reason, words):
    (tmp_path / 'f').mkdir()
    verdict = check_frames(frames(*names))
    assert verdict.reason == reason and words in verdict.detail


@pytest.mark.parametrize(
    'cut',
    [
        b'',
        picture()[:200],
        picture()[:-30],
        b'<html>',
        picture()[:2] + b'\0' * 400,
        cv2.imencode('.png', np.zeros((64, 64, 3)))[1].tobytes()[:-20],
        cv2.imencode('.png', np.random.default_rng(0).integers(0, 255, (32, 48, 3)))[1].tobytes()[:2000],
    ],
)
def test_damaged_images(frames, cut):
    verdict = check_frames(frames('00001.jpg', '00002.jpg', **{'00003.jpg': cut}))
    assert verdict.reason == 'decode_error' and "'00003.jpg'" in verdict.detail


def test_images_of_two_sizes(frames):
    verdict = check_frames(frames('00001.jpg', **{'00002.jpg': picture(height=16)}))
    assert verdict.reason == 'decode_error' and '(16, 48)' in verdict.detail and '(32, 48)' in verdict.detail


def test_a_padded_jpeg_is_whole(frames):
    assert check_frames(frames(**{'1.jpg': picture() + b'\0' * 20})).reason is None


def test_png_is_whole(frames):
    png = cv2.imencode('.png', np.zeros((8, 8, 3)))[1].tobytes()
    assert check_frames(frames(**{'1.png': png})) == Verdict(1, 8, 8, template='{:d}.png', start=1)


def test_every_reason_has_a_remedy():
    assert {
        'missing',
        'empty',
        'not_a_video',
        'no_video_stream',
        'truncated',
        'decode_error',
        'missing_frames',
        'timeout',
        'killed',
        'unreadable',
        'too_short',
        'ambiguous',
        'damaged',
    } == REMEDIES.keys()


def test_details_are_short_and_one_line():
    assert Verdict.bad('decode_error', 'a\n b' * 500).detail.startswith('a b')
    assert len(Verdict.bad('decode_error', 'a\n b' * 500).detail) == checking.DETAIL


def test_check_video_in_this_process(clip):
    assert check_video(str(clip(6))) == Verdict(6, 32, 128, 25.0, codec='h264')
