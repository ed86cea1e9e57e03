"""What a video file holds: which packet makes which frame, found by reading the packets without decoding
them.

Headers lie about the number of frames, so they are not asked. Where the packets themselves can be trusted
(codecs and containers in which every packet that is to be shown makes one frame and carries its true time)
their times, sorted, are the frames. Where they cannot, the index says why, and the frames have to be counted
by decoding.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import BinaryIO

import av
import numpy as np

from .shards import member_of, read_member

__all__ = ['VideoError', 'VideoIndex', 'content_of', 'index_packets', 'open_stream', 'packets_of']

Container = av.container.InputContainer
VideoStream = av.video.stream.VideoStream
Packet = av.Packet


class VideoError(Exception):
    """A video that cannot be read. The message names the file, the reader, the reason and what to do.

    Attributes:
        path: the file.
        kind: 'missing', 'unreadable', 'empty', 'not_a_video', 'no_video_stream', 'truncated' or, for all
            else, 'decode_error'.
    """

    def __init__(self, message: str, path: str = '', kind: str = 'decode_error'):
        super().__init__(message)
        self.path, self.kind = path, kind

    def __reduce__(self) -> tuple[type[VideoError], tuple[str, str, str]]:
        return type(self), (self.args[0], self.path, self.kind)

    @classmethod
    def of(
        cls, path: str, reader: str, reason: object, remedy: str, kind: str = 'decode_error'
    ) -> VideoError:
        """The error of ``reader`` on ``path``, in the house's form of words."""
        return cls(f'{path}: {reader} cannot read this video: {reason}; {remedy}', path, kind)


@dataclass(frozen=True)
class VideoIndex:
    """Frames in the order they are shown, as far as the packets tell.

    Attributes:
        times: ``(N,)`` int64, presentation time of each frame in units of the stream, ascending.
        packets: ``(N,)`` int64, the position in the file's order of packets of the packet that makes the
            frame.
        starts: ``(N,)`` int64, position of the key packet at which decoding has to begin to get the frame.
        doubt: why the packets cannot be trusted to be the frames; '' if they can.
        discards: whether the container wants some packets decoded but not shown, as edit lists do.
        turns: whether the codec's own messages turn or mirror pictures, from one picture on, whatever the
            container says.
        stored: number of packets, also those that make no frame to show.
    """

    times: np.ndarray
    packets: np.ndarray
    starts: np.ndarray
    doubt: str = ''
    discards: bool = False
    turns: bool = False
    stored: int = 0

    @property
    def has_leading(self) -> bool:
        """Whether a frame is shown before, but stored after, a key frame, and needs what came before that key
        frame (open groups)."""
        keys = np.unique(self.starts)
        return bool((keys[np.searchsorted(keys, self.packets, side='right') - 1] != self.starts).any())

    @classmethod
    def in_doubt(cls, doubt: str) -> VideoIndex:
        """An index that knows no frame, and why."""
        nothing = np.empty(0, np.int64)
        return cls(times=nothing, packets=nothing, starts=nothing, doubt=doubt)


FORMATS = (
    'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpegtsraw,mpeg,mpegvideo,flv,kux,live_flv,asf,asf_o,'
    'ogg,wtv,mxf,gxf,nut,dv,rm,ivf,obu,av1,h261,h263,h264,hevc,vvc,m4v,vc1,vc1test,mjpeg,gif,apng,'
    'yuv4mpegpipe,wav,mp3,aac,flac'
)
"""What is opened: formats that hold their pictures themselves (or sound, which has an error of its own).
Lists of files (concat, HLS, DASH, SDP, numbered images) would show pictures of other files, or of the
network."""


UNPROBED = {'codec_whitelist': 'none', 'fflags': 'noparse'}
"""Options that keep FFmpeg from decoding the first frames, and from parsing every packet, to learn what the
container says anyway: opening takes a tenth of the time."""


def content_of(path: str, reader: str) -> bytes | None:
    """The bytes of a video in a shard; None of a file of its own.

    Raises:
        VideoError: if the shard is not there, cannot be read or is cut off.
    """
    member = member_of(path)
    if member is None:
        return None
    remedy = 'copy the shard again, or prepare the dataset again'
    try:
        return read_member(member)
    except FileNotFoundError as error:
        raise VideoError.of(path, reader, f'there is no shard {member.shard}', remedy, 'missing') from error
    except EOFError as error:
        raise VideoError.of(path, reader, error, remedy, 'truncated') from error
    except OSError as error:
        raise VideoError.of(path, reader, error, 'see to it that it can be read', 'unreadable') from error


def open_stream(
    path: str, reader: str, probed: bool = True, content: bytes | None = None
) -> tuple[Container, VideoStream]:
    """Open ``path`` with PyAV; the container (the caller closes it) and its video stream, set to one decoder
    thread.

    Args:
        path: the file, or a video in a shard (:mod:`gfvideo.data.shards`).
        reader: what errors call the reader.
        probed: let FFmpeg decode the first frames to complete what the container says (sizes, rates).
            Otherwise it does so only where decoding needs it.
        content: of a video in a shard, all its bytes, if they are there already.

    Raises:
        VideoError: no such file, an empty or cut-off file, a list of other files, not a video, no video
            stream in it, or one that nothing here decodes.
    """
    if content is None:
        content = content_of(path, reader)
    _check_file(path, reader, content)
    if not probed:
        container = _opened(path, reader, UNPROBED, content)
        if _says_all(container):
            return container, _stream_of(container, path, reader)
        container.close()
    container = _opened(path, reader, {}, content)
    return container, _stream_of(container, path, reader)


def _opened(path: str, reader: str, options: dict[str, str], content: bytes | None) -> Container:
    try:
        # an absolute path cannot be taken for a URL ("a:b.mp4"); odd bytes in the metadata do not
        # matter
        source = os.path.abspath(path) if content is None else io.BytesIO(content)
        return av.open(
            source,
            mode='r',
            metadata_errors='replace',
            options={'format_whitelist': FORMATS, 'protocol_whitelist': 'file', **options},
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        with _binary(path, content) as file:
            start = file.read(4096)
        if _is_a_list(start):
            raise VideoError.of(
                path,
                reader,
                'it is a list of other files, and such lists are not followed',
                'name the videos themselves',
                'not_a_video',
            ) from error
        raise VideoError.of(
            path,
            reader,
            error,
            'the file is damaged or no video; fetch it again or drop it from the list',
            'truncated' if _is_of_a_video(start) else 'not_a_video',
        ) from error


def _stream_of(container: Container, path: str, reader: str) -> VideoStream:
    stream = container.streams.best('video')
    if not isinstance(stream, VideoStream) or stream.disposition & av.stream.Disposition.attached_pic:
        container.close()
        raise VideoError.of(
            path, reader, 'it has no video stream (sound only?)', 'drop it from the list', 'no_video_stream'
        )
    if stream.codec_context is None:
        container.close()
        raise VideoError.of(
            path,
            reader,
            'no decoder for its codec is known',
            'encode it with another one, or drop it from the list',
        )
    stream.thread_type, stream.codec_context.thread_count = 'NONE', 1
    return stream


SELF_SUFFICIENT_CODECS = ('hevc', 'vp8', 'vp9', 'libdav1d')


def _says_all(container: Container) -> bool:
    """Whether the container alone says which of its streams is the video and, to a decoder, how many frames
    it has to hold back until they are in order.

    HEVC says the latter in its header; VP8, VP9 and AV1 give frames in order. H.264 may leave it open: MP4's
    table of times tells it, a fragmented MP4 (with no frame in that table) and Matroska do not.
    """
    videos, form = container.streams.video, container.format.name.split(',')[0]
    if form not in TIMED_CONTAINERS or len(videos) != 1 or videos[0].codec_context is None:
        return False
    codec = videos[0].codec_context.name
    return codec in SELF_SUFFICIENT_CODECS or codec == 'h264' and form == 'mov' and videos[0].frames > 0


def packets_of(container: Container, stream: VideoStream) -> Iterator[Packet]:
    """The packets of a stream in the order of the file, without the empty one PyAV ends with."""
    return (packet for packet in container.demux(stream) if packet.size)


def index_packets(packets: Iterable[Packet], container: Container, stream: VideoStream) -> VideoIndex:
    """Read all ``packets`` and index them; nothing is decoded (Something-Something clips: half a
    millisecond)."""
    hidden, look = _hides(stream), _packet_check(stream)
    rows: list[tuple[int | None, bool, bool]] = []
    damaged, discards, turns = -1, False, False
    for position, packet in enumerate(packets):
        rows.append((packet.pts, packet.is_keyframe, not packet.is_discard and not hidden(packet)))
        whole, turned = look(packet)
        discards, turns = discards or packet.is_discard, turns or turned
        if damaged < 0 and (packet.is_corrupt or not whole):
            damaged = position
    doubt = _doubt(rows, damaged, container, stream)
    index = VideoIndex.in_doubt(doubt) if doubt else _order(rows)
    return replace(index, discards=discards, turns=turns, stored=len(rows))


def _order(rows: list[tuple[int | None, bool, bool]]) -> VideoIndex:
    times, keys, shown = (np.array(column) for column in zip(*rows, strict=True))
    packets = np.flatnonzero(shown)
    packets = packets[np.argsort(times[packets])]  # (N,) in the order shown
    # a frame shown before a key packet's frame may need what came before that key packet, even if it follows
    # it in the file
    key_packets = np.flatnonzero(keys)
    key_packets = key_packets[np.argsort(times[key_packets])]
    before = np.searchsorted(times[key_packets], times[packets], side='right') - 1
    return VideoIndex(times[packets], packets, key_packets[np.maximum(before, 0)])


# ---- when packets are not frames

# their packets carry the true time; AVI has none, MPEG-TS and -PS cannot be relied on
TIMED_CONTAINERS = ('mov', 'matroska')
# one packet, one frame; MPEG-4 packs two in one, or none
ONE_FRAME_CODECS = ('h264', 'hevc', 'vp8', 'vp9', 'av1', 'libdav1d')


def _doubt(
    rows: list[tuple[int | None, bool, bool]], damaged: int, container: Container, stream: VideoStream
) -> str:
    """Why packets and frames may differ, or ''."""
    shown = [time for time, _, show in rows if show]
    if container.format.name.split(',')[0] not in TIMED_CONTAINERS:
        return f'its container ({container.format.long_name}) does not say when each frame is shown'
    if stream.codec_context.name not in ONE_FRAME_CODECS:
        return f'its codec ({stream.codec_context.name}) may pack several frames or none in a packet'
    if damaged >= 0:
        return f'packet {damaged} is damaged'
    if None in shown or len(set(shown)) < len(shown):
        return 'some frames have no time of their own'
    if not rows or not rows[0][1]:
        return 'it does not begin with a key frame'
    return ''


def _hides(stream: VideoStream) -> Callable[[Packet], bool]:
    """Test for packets that make no frame although they are not marked so: VP8's alternative references (RFC
    6386, 9.1)."""
    if stream.codec_context.name == 'vp8':
        return lambda packet: not memoryview(packet)[0] & 0x10
    return lambda packet: False


def _packet_check(stream: VideoStream) -> Callable[[Packet], tuple[bool, bool]]:
    """Test of a packet: is it whole, and does it hold a message that turns pictures?

    In MP4 and Matroska the units of H.264 and HEVC carry their lengths, which must add up. Elsewhere a start
    code stands before each.
    """
    header, name = stream.codec_context.extradata or b'', stream.codec_context.name
    if name not in MESSAGE_UNITS:
        return lambda packet: (True, False)
    first, skipped = MESSAGE_UNITS[name]
    if name == 'h264' and len(header) > 4 and header[0] == 1:
        width = (header[4] & 3) + 1
    elif name == 'hevc' and len(header) > 21 and header[0] == 1:
        width = (header[21] & 3) + 1
    else:
        units = re.compile(
            rb'\x00\x00\x01[' + re.escape(bytes(first)) + rb'](.*?)(?=\x00\x00\x01|\Z)', re.DOTALL
        )
        return lambda packet: (True, any(_turns(unit[1][skipped - 1 :]) for unit in units.finditer(packet)))
    return lambda packet: _units(memoryview(packet), width, first, skipped)


MESSAGE_UNITS = {'h264': (frozenset(b'\x06\x26\x46\x66'), 1), 'hevc': (frozenset(b'NOPQ'), 2)}
"""First bytes of the units of supplemental information (type 6 of H.264, 7.4.1; types 39 and 40 of H.265,
7.4.2.2), and how many bytes come before that information."""

DISPLAY_ORIENTATION = 47


def _units(data: memoryview, width: int, first: frozenset[int], skipped: int) -> tuple[bool, bool]:
    at, end, turned = 0, len(data), False
    while at + width <= end:
        start = at + width
        at = start + int.from_bytes(data[at:start], 'big')
        if start < end and data[start] in first:
            turned = turned or _turns(bytes(data[start + skipped : at]))
    return at == end, turned


def _turns(messages: bytes) -> bool:
    """Whether one of the messages (H.264 and H.265, 7.3.2.3 and D.1) is a display orientation other than
    upright."""
    if DISPLAY_ORIENTATION not in messages:  # most say other things
        return False
    left = iter(messages.replace(b'\0\0\3', b'\0\0'))

    def number() -> int | None:
        total = 0
        for byte in left:
            total += byte
            if byte < 255:
                return total
        return None

    while (kind := number()) is not None and (size := number()) is not None:
        content = bytes(islice(left, size))
        if kind == DISPLAY_ORIENTATION:  # 1 bit each: cancelled, flipped, flipped; 16 bits: the angle
            bits = int.from_bytes(content[:3].ljust(3, b'\0'), 'big')
            return not bits >> 23 and bool(bits >> 5 & 0x3FFFF)
    return False


# ---- files that end too early, which demuxers pass over in silence


def _binary(path: str, content: bytes | None) -> BinaryIO:
    return open(path, 'rb') if content is None else io.BytesIO(content)


def _check_file(path: str, reader: str, content: bytes | None) -> None:
    if content is None and not os.path.isfile(path):
        what = 'it is a folder' if os.path.isdir(path) else 'there is no such file'
        raise VideoError.of(path, reader, what, 'correct the path or the root of the dataset', 'missing')
    try:
        with _binary(path, content) as file:
            size, declared = file.seek(0, os.SEEK_END), _declared_size(file)
    except OSError as error:
        raise VideoError.of(path, reader, error, 'correct its permissions', 'unreadable') from error
    if not size:
        raise VideoError.of(
            path, reader, 'the file is empty', 'fetch it again or drop it from the list', 'empty'
        )
    if declared > size:
        reason = f'it is cut off: {size} bytes are here, its header speaks of {declared}'
        raise VideoError.of(path, reader, reason, 'fetch it again or drop it from the list', 'truncated')


def _is_of_a_video(start: bytes) -> bool:
    """Whether a file that cannot be opened begins like an MP4 or a Matroska file: then it lacks its end, or
    its table of contents."""
    return start[:4] == b'\x1a\x45\xdf\xa3' or start[4:8] in (b'ftyp', b'moov', b'mdat')


def _is_a_list(start: bytes) -> bool:
    """Whether a file that cannot be opened begins like one of those that name other files: concat, HLS, DASH,
    SDP."""
    start = start.removeprefix(b'\xef\xbb\xbf').lstrip()
    return (
        start.startswith((b'ffconcat', b'#EXTM3U', b'[playlist]', b'v=0'))
        or b'<MPD' in start
        or b'<SmoothStreamingMedia' in start
    )


def _declared_size(file: BinaryIO) -> int:
    """Bytes a Matroska/WebM or MP4/MOV file says it has; 0 where it does not say."""
    file.seek(0)
    start = file.read(12)
    if start[:4] == b'\x1a\x45\xdf\xa3':
        return _matroska_size(file)
    return _mp4_size(file) if start[4:8] in (b'ftyp', b'moov', b'mdat', b'wide', b'free', b'skip') else 0


def _matroska_size(file: BinaryIO) -> int:
    file.seek(4)
    file.seek(_ebml_number(file) or 0, os.SEEK_CUR)  # over the EBML header
    if file.read(4) != b'\x18\x53\x80\x67':  # the segment, which holds all the rest
        return 0
    size = _ebml_number(file)
    return 0 if size is None else file.tell() + size


def _ebml_number(file: BinaryIO) -> int | None:
    """A number of variable length (RFC 8794, 4); None for "unknown", all ones."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), 'big') & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else value


def _mp4_size(file: BinaryIO) -> int:
    """The end of the last box that holds pictures or their table (ISO 14496-12, 4.2)."""
    at = declared = 0
    while True:
        file.seek(at)
        head = file.read(16)
        size, kind = int.from_bytes(head[:4], 'big'), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:16], 'big')
        if len(head) < 8 or size < 8:  # the end of the file, or a last box without a size
            return declared
        at += size
        if kind in (b'mdat', b'moov', b'moof'):
            declared = at
