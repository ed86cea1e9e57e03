"""The same index gives the same picture from every reader, or an error by name: files that tempt readers to
break it."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from hypothesis import given
from hypothesis import strategies as st

from gfvideo.data.orientation import UPRIGHT, Orientation, orientation_of
from gfvideo.data.readers import VideoError, open_video
from gfvideo.data.video_index import open_stream

COUNT = 20
H264 = {'options': {'x264-params': 'bframes=2:keyint=6:min-keyint=6:scenecut=0:b-adapt=0'}}
ONE = 1 << 16


def box(content: bytes | bytearray, name: bytes) -> int:
    """Where the content of the only box with this name begins."""
    assert content.count(name) == 1
    return content.index(name) + 4


def copied(path: Path, target: Path, *, message: str = '', turned: int = 0) -> Path:
    """The packets of ``path`` through a bitstream filter, or in a container that turns them."""
    with av.open(str(path)) as source, av.open(str(target), 'w') as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        if turned:
            stream.set_display_rotation(turned)
        change = BitStreamFilterContext(message, source.streams.video[0], stream) if message else None
        for packet in source.demux(video=0):
            packets = (
                change.filter(packet if packet.size else None) if change else [packet] * bool(packet.size)
            )
            for changed in packets:
                changed.stream = stream
                container.mux(changed)
    return target


def plain(path: Path) -> np.ndarray:
    """The slow reference: all that is decoded and to be shown, as it is stored, ``(N, H, W, 3)``."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = 'NONE'
        container.streams.video[0].codec_context.flags |= 1  # "unaligned": cut to the pixel
        return np.stack(
            [frame.to_ndarray(format='rgb24', interpolation='BICUBIC') for frame in container.decode(video=0)]
        )


def refused(path: Path, reader: str, reason: str) -> None:
    with pytest.raises(VideoError, match=f'{path.name}: {reader}.*{reason}.*pyav'):
        open_video(path, reader)


def numbers(painted_video, frames: Iterable[np.ndarray]) -> list[int]:
    return [painted_video.read_number(frame) for frame in frames]


# ---- packets that are decoded but not shown


def edited(path: Path, target: Path, skipped: int, rate: int = 25) -> Path:
    """A copy whose edit list begins so many frames later."""
    content = bytearray(path.read_bytes())
    at = box(content, b'elst')
    version, entries, seconds, start = struct.unpack('>IIIi', content[at : at + 16])
    assert (version, entries) == (0, 1)
    media, film = (
        struct.unpack('>I', content[box(content, name) + 12 :][:4])[0] for name in (b'mdhd', b'mvhd')
    )
    content[at + 8 : at + 16] = struct.pack(
        '>Ii', seconds - skipped * film // rate, start + skipped * media // rate
    )
    target.write_bytes(content)
    return target


@pytest.mark.parametrize('skipped', [1, 2, 5, 7, 13])
@pytest.mark.parametrize('key_every', [6, 250])
def test_edit_lists(painted_video, reader, tmp_path, skipped, key_every):
    options = {'x264-params': f'bframes=2:keyint={key_every}:min-keyint={key_every}:scenecut=0:b-adapt=0'}
    path = edited(painted_video(COUNT, options=options), tmp_path / 'edited.mp4', skipped)
    if reader != 'pyav':
        refused(path, reader, 'hides some of its pictures')
        return
    with open_video(path, reader) as video:
        assert numbers(painted_video, video.get_frames(range(len(video)))) == list(range(skipped, COUNT))
        assert (video.get_frames(range(len(video))) == plain(path)).all()
        assert numbers(painted_video, video.iter_at([0, 3])) == [skipped, skipped + 3]
    with open_video(path, reader) as video:
        assert painted_video.read_number(video.get_frames([0])[0]) == skipped


# ---- turned and mirrored


def with_matrix(path: Path, target: Path, a: int, b: int, c: int, d: int, u: int = 0) -> Path:
    """A copy of an MP4 that is shown so: the matrix is (a b u, c d v, x y w)."""
    content = bytearray(path.read_bytes())
    at = box(content, b'tkhd') + 40
    content[at : at + 36] = struct.pack('>9i', a, b, u, c, d, 0, 0, 0, 1 << 30)
    target.write_bytes(content)
    return target


def shown(picture: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Every pixel (p, q) at (a p + c q, b p + d q), moved to where no place is below 0: the obvious way."""
    height, width = picture.shape[:2]
    places = {(x, y): (a * x + c * y, b * x + d * y) for x, y in product(range(width), range(height))}
    left, top = (min(place[axis] for place in places.values()) for axis in (0, 1))
    turned = np.zeros((width, height, 3) if b else picture.shape, np.uint8)
    for (x, y), (p, q) in places.items():
        turned[q - top, p - left] = picture[y, x]
    return turned


EIGHT = [(a, 0, 0, d) for a, d in product((1, -1), repeat=2)] + [
    (0, b, c, 0) for b, c in product((1, -1), repeat=2)
]


@pytest.mark.parametrize('matrix', EIGHT)
def test_all_ways_to_lay_a_picture(painted_video, reader, tmp_path, matrix):
    upright = painted_video(6, height=64, **H264)  # decord cannot turn just any size
    path = with_matrix(upright, tmp_path / 'turned.mp4', *(number * ONE for number in matrix))
    a, b, c, d = matrix
    if reader != 'pyav' and a * d - b * c < 0:
        refused(path, reader, 'to be mirrored')
        return
    expected = [shown(picture, *matrix) for picture in plain(upright)[[0, 4]]]
    with open_video(path, reader) as video:
        assert (video.get_frames([0, 4]) == expected).all()
        assert video.frame_size == expected[0].shape[:2]
        walked = list(video.iter_at([0, 4]))
        assert (np.stack(walked) == expected).all() and all(frame.flags.c_contiguous for frame in walked)


@given(st.sampled_from(EIGHT), st.integers(1, 90), st.integers(1, 70), st.sampled_from([1, 3, ONE]))
def test_orientations(matrix, height, width, scale):
    picture = np.random.default_rng(0).integers(0, 255, (height % 9 + 1, width % 7 + 1, 3), dtype=np.uint8)
    a, b, c, d = (scale * number for number in matrix)
    orientation = orientation_of((a, b, 0, c, d, 0, 5, 7, 1 << 30))
    assert (orientation.of(picture) == shown(picture, *matrix)).all()
    assert orientation.mirrored == (matrix[0] * matrix[3] - matrix[1] * matrix[2] < 0)


def test_orientations_that_there_are_not():
    assert orientation_of(None) == UPRIGHT == Orientation()
    for a, b, c, d in ((1, 1, -1, 1), (1, 1, 0, 1), (0, 0, 0, 0), (1, 0, 0, 0), (100, 3, -3, 100)):
        assert orientation_of((a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)) is None
    assert orientation_of((ONE, 0, 9, 0, ONE, 0, 0, 0, 1 << 30)) is None  # perspective
    assert orientation_of((1000, 9, 0, -9, 1000, 0, 0, 0, 1 << 30)) == UPRIGHT  # half a degree
    # wide pixels stay as they are
    assert orientation_of((ONE, 0, 0, 0, 2 * ONE, 0, 0, 0, 1 << 30)) == UPRIGHT


@pytest.mark.parametrize(
    'matrix', [(46341, 46341, -46341, 46341), (ONE, ONE // 2, 0, ONE), (64540, 11380, 11380, -64540)]
)
def test_turned_by_less_than_a_quarter_or_sheared(painted_video, reader, tmp_path, matrix):
    path = with_matrix(painted_video(6, **H264), tmp_path / 'askew.mp4', *matrix)
    if reader == 'pyav':
        with (
            open_video(path, reader) as video,
            pytest.raises(VideoError, match=f'distorted .*{matrix[0]}, {matrix[1]}.*upright'),
        ):
            video.get_frames([0])
    else:
        refused(path, reader, 'turned by less than a quarter')


@pytest.mark.parametrize('degrees', [90, 180, -90])
def test_rotation_in_matroska(painted_video, reader, tmp_path, degrees):
    path = copied(painted_video(6, height=64, **H264), tmp_path / 'turned.mkv', turned=degrees)
    if reader == 'decord':
        refused(path, reader, 'decord does not see')
        return
    with open_video(path, reader) as video:
        upright = [np.rot90(frame, -degrees // 90) for frame in video.get_frames(range(6))]
        assert numbers(painted_video, upright) == list(range(6))


@pytest.mark.parametrize('suffix', ['.mp4', '.mkv', '.ts'])
@pytest.mark.parametrize('turn', ['rotate=90', 'flip=horizontal'])
def test_turned_by_messages_of_the_codec(painted_video, tmp_path, suffix, turn):
    path = copied(
        painted_video(6, **H264),
        tmp_path / f'message{suffix}',
        message=f'h264_metadata=display_orientation=insert:{turn}',
    )
    with pytest.raises(
        VideoError, match='messages in its codec turn or mirror its pictures; re-encode it upright'
    ):
        open_video(path)


# ---- parts of the coded picture, and interlaced ones


@pytest.mark.parametrize(('left', 'top'), [(2, 0), (0, 2), (8, 4), (32, 2), (64, 0), (18, 6)])
def test_cut_off_on_the_left_and_above(painted_video, reader, tmp_path, left, top):
    whole = painted_video(6, height=64, **H264)
    path = copied(whole, tmp_path / 'cut.mp4', message=f'h264_metadata=crop_left={left}:crop_top={top}')
    if reader != 'pyav' and left % 64:
        refused(path, reader, 'left edge')
        return
    with open_video(path, reader) as video:
        assert video.frame_size == (64 - top, 128 - left)
        frames = video.get_frames(range(6))
    assert (frames == plain(path)).all()
    # away from the new edges, where colours are interpolated
    around = slice(24 - top, 56 - top), slice(72 - left, 120 - left)
    assert np.abs(frames[:, *around].astype(int) - plain(whole)[:, 24:56, 72:120]).max() <= 2


@pytest.mark.parametrize(('suffix', 'colours'), [('.mp4', None), ('.mkv', None), ('.mp4', 1)])
def test_interlaced(painted_video, reader, tmp_path, suffix, colours):
    path = tmp_path / f'interlaced{suffix}'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(
            'libx264',
            rate=25,
            width=128,
            height=64,
            pix_fmt='yuv420p',
            options={'x264-params': 'interlaced=1:tff=1:keyint=6:bframes=2'},
        )
        if colours:
            stream.codec_context.colorspace = colours
        for number in range(8):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(painted_video.frame(number, 64), format='rgb24'))
            )
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert frames[0].interlaced_frame
    expected = []
    for frame in frames:  # the same numbers in a frame that is not marked
        unmarked = av.VideoFrame.from_ndarray(frame.to_ndarray(), format=frame.format.name)
        unmarked.colorspace, unmarked.color_range = frame.colorspace, frame.color_range
        expected.append(unmarked.to_ndarray(format='rgb24', interpolation='BICUBIC'))
    with open_video(path, reader) as video:
        assert (video.get_frames(range(8)) == expected).all()
        assert numbers(painted_video, video.iter_at(range(8))) == list(range(8))


# ---- headers that lie, and files that are none


@pytest.mark.parametrize('frames', [0x73747373, 0x7FFFFFFF, COUNT + 1])
def test_headers_that_speak_of_more_frames(painted_video, reader, tmp_path, frames):
    """The table of times says how often a time is repeated; decord makes room for as many frames, or ends the
    process."""
    content = bytearray(painted_video(COUNT, options={'x264-params': 'bframes=0:keyint=6'}).read_bytes())
    at = box(content, b'stts')
    assert struct.unpack('>II', content[at + 4 : at + 12]) == (1, COUNT)
    content[at + 8 : at + 12] = struct.pack('>I', frames)
    path = tmp_path / 'boasting.mp4'
    path.write_bytes(content)
    if reader == 'decord':
        refused(path, reader, f'header speaks of {frames} frames, and it holds {COUNT}')
        return
    with open_video(path, reader) as video:
        assert numbers(painted_video, video.get_frames(range(COUNT))) == list(range(COUNT))


def test_headers_that_speak_of_years(painted_video, reader, tmp_path):
    whole = painted_video(COUNT, '.mkv', options={'x264-params': 'bframes=0:keyint=6'})
    content = bytearray(whole.read_bytes())
    at = content.index(b'\x44\x89\x88') + 3  # Matroska's duration, in milliseconds
    assert struct.unpack('>d', content[at : at + 8]) == (COUNT * 40.0,)
    content[at : at + 8] = struct.pack('>d', 1e15)
    path = tmp_path / 'years.mkv'
    path.write_bytes(content)
    if reader == 'decord':
        refused(path, reader, r'header speaks of 1e\+12 s of 25 frames each')
        return
    with open_video(path, reader) as video:
        assert painted_video.read_number(video.get_frames([7])[0]) == 7


LISTS = {
    'concat': 'ffconcat version 1.0\nfile other.mp4\n',
    'hls': '#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nother.ts\n#EXT-X-ENDLIST\n',
    'dash': (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"'
        ' profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">\n<BaseURL>other.mp4</BaseURL></MPD>\n'
    ),
    'sdp': (
        'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96'
        ' H264/90000\n'
    ),
}


@pytest.mark.parametrize('kind', LISTS)
@pytest.mark.parametrize('suffix', ['.mp4', '.m3u8'])
def test_lists_of_other_files(painted_video, reader, tmp_path, kind, suffix):
    (tmp_path / 'other.mp4').write_bytes(painted_video(6, **H264).read_bytes())
    painted_video.write(tmp_path / 'other.ts', [painted_video.frame(number) for number in range(6)])
    path = tmp_path / f'list{suffix}'
    path.write_text(LISTS[kind])
    for name in (reader, 'auto'):
        with pytest.raises(
            VideoError, match='it is a list of other files, and such lists are not followed'
        ) as caught:
            open_video(path, name)
        assert caught.value.kind == 'not_a_video'
    with pytest.raises(VideoError, match='a list of other files'):
        open_stream(str(path), 'pyav')


def test_a_picture_with_the_name_of_a_pattern_is_itself_alone(painted_video, reader, tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f'{number}.png'), painted_video.frame(number))
    (tmp_path / '%d.png').write_bytes((tmp_path / '0.png').read_bytes())
    with open_video(tmp_path / '%d.png', reader) as video:
        assert len(video) == 1
        assert (video.get_frames([0])[0] == painted_video.frame(0)[..., ::-1]).all()
    (tmp_path / '%d.png').unlink()
    with open_video(tmp_path / '%d.png', reader) as video, pytest.raises(VideoError, match='no such file'):
        video.get_frames([0])


def test_a_codec_that_nothing_decodes(painted_video, reader, tmp_path):
    content = bytearray(painted_video(6, **H264).read_bytes())
    at = box(content, b'stsd') + 12
    assert content[at : at + 4] == b'avc1'
    content[at : at + 4] = b'zzzz'
    path = tmp_path / 'unknown.mp4'
    path.write_bytes(content)
    with pytest.raises(VideoError, match='no decoder for its codec is known'):
        open_video(path, reader)
