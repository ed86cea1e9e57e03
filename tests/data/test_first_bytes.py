"""What the first bytes rule out must not be there; for ordinary files they do rule it out, so that no picture
is decoded."""

from __future__ import annotations

import av
import pytest
from av.bitstream import BitStreamFilterContext
from hypothesis import given
from hypothesis import strategies as st

from gfvideo.data.first_bytes import may_cut_left, may_turn
from gfvideo.data.readers import PyAVReader, open_video

FORMS = {
    'mp4': ('.mp4', {}),
    'mov': ('.mov', {}),
    'matroska': ('.mkv', {}),
    'fields': ('.mp4', {'x264-params': 'interlaced=1'}),
    'baseline': ('.mp4', {'profile': 'baseline'}),
    'fast start': ('.mp4', {'movflags': '+faststart'}),
    'fragments': ('.mp4', {'movflags': '+frag_keyframe+empty_moov'}),
}


def header(path) -> bytes:
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.extradata


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('size', [(48, 128), (56, 130)])  # the second is cut on the right and below
def test_ordinary_files(painted_video, form, size):
    suffix, options = FORMS[form]
    path = painted_video(6, suffix, height=size[0], width=size[1], options=options)
    assert not may_turn(path)
    assert not may_cut_left('h264', header(path))
    assert not may_cut_left('vp9', b'')


def test_no_picture_of_an_ordinary_file_is_decoded_to_look_at_it(painted_video, reader, monkeypatch):
    monkeypatch.setattr(PyAVReader, 'first_as_others_see_it', lambda _: pytest.fail('a picture was decoded'))
    with open_video(painted_video(6), reader) as video:
        assert video.decoded == 0


@pytest.mark.parametrize('suffix', ['.mp4', '.mov', '.mkv'])
def test_turned_files(painted_video, tmp_path, suffix):
    for degrees, hflip in ((90, False), (180, False), (0, True)):
        path = tmp_path / f'turned{degrees}{suffix}'
        with av.open(str(painted_video(6))) as source, av.open(str(path), 'w') as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            stream.set_display_rotation(degrees, hflip) if hflip else stream.set_display_rotation(degrees)
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
        assert may_turn(path)


def test_files_that_do_not_tell(painted_video, tmp_path):
    content = painted_video(6).read_bytes()
    at = content.index(b'moov') - 4
    cases = {
        'no table': content[:at],
        'two tables': content + content[at:],
        'no size': content[:at] + bytes(4) + content[at + 4 :],
        'compressed': content.replace(b'udta', b'cmov'),
        'no track': content.replace(b'tkhd', b'skip'),
        'nothing': b'',
    }
    for name, changed in cases.items():
        path = tmp_path / 'odd.mp4'
        path.write_bytes(changed)
        assert may_turn(path), name
    path = tmp_path / 'odd.mkv'
    path.write_bytes(painted_video(6, '.mkv').read_bytes().replace(b'\x16\x54\xae\x6b', b'\xec\x54\xae\x6b'))
    assert may_turn(path)


@pytest.mark.parametrize('left', [2, 16, 64])
@pytest.mark.parametrize('options', [{}, {'profile': 'baseline'}, {'x264-params': 'interlaced=1'}])
def test_left_edges(painted_video, tmp_path, left, options):
    path = tmp_path / 'cut.mp4'
    with av.open(str(painted_video(6, options=options))) as container, av.open(str(path), 'w') as target:
        source = container.streams.video[0]
        stream = target.add_stream_from_template(source)
        change = BitStreamFilterContext(f'h264_metadata=crop_left={left}', source, stream)
        for packet in container.demux(video=0):
            for changed in change.filter(packet if packet.size else None):
                changed.stream = stream
                target.mux(changed)
    assert header(path)[0] == 1 and may_cut_left('h264', header(path))


@given(st.binary(max_size=60))
def test_damaged_headers(data):
    for start in (b'', b'\1\x64\0\x28\xff\xe1\0\x20', b'\1\x42\0\x28\xff\xe1\0\x10\x67'):
        assert may_cut_left('h264', start + data) in (True, False)
    assert may_cut_left('h264', b'') and may_cut_left('hevc', data)
