"""Frames by PyAV, which brings FFmpeg along."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from itertools import chain, islice

import av
import numpy as np
from av.codec.context import Flags
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from ..orientation import display_matrix, orientation_of
from ..video_index import VideoIndex, content_of, index_packets, open_stream, packets_of
from .base import DROP, IndexedReader, Make

__all__ = ['PyAVReader']

KEPT_BYTES = 64 * 2**20
"""Packets of a file up to this size stay in memory between the index and the decoder; those of a larger one
are read again."""


class PyAVReader(IndexedReader):
    """Packets are read once and indexed; then only those from the key packet before a wanted frame up to that
    frame are decoded.

    There is no seeking, so nothing depends on how well a container can seek. Where the index is in doubt
    (``doubt`` says why) frames are decoded from the beginning and counted; packets that do not decode are no
    frames then.

    All reading decodes packet by packet, as far as frames are asked for. Each pass has a decoder to itself,
    so passes may interleave.

    Args:
        path: the file, or a video in a shard.
        exact: decode everything once to count the frames.
        probed: see :func:`gfvideo.data.video_index.open_stream`; the properties that tell what the header
            says are complete then.

    Attributes:
        content: of a video in a shard, all its bytes; None of a file of its own.
    """

    name = 'pyav'

    def __init__(self, path: str, exact: bool = False, probed: bool = False):
        super().__init__(path)
        self._probed = probed
        self.content = content_of(path, self.name)
        self._container, self._stream = self._open()
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame
        self._unmarking: dict[tuple[int, int, str], av.filter.Graph] = {}
        self._kept: list[av.Packet] | None = None
        self._idle = [self._stream.codec_context]
        self._packets_decoded = 0
        try:
            self.index = self._read_index()
            if self.index.turns:
                raise self._error('messages in its codec turn or mirror its pictures', 're-encode it upright')
            self._count = len(self.index.times) or None
            if exact:
                self.index = self._verified(self.index)
        except BaseException:
            self.close()
            raise

    def _open(self) -> tuple[InputContainer, VideoStream]:
        return open_stream(self.path, self.name, self._probed, self.content)

    @property
    def doubt(self) -> str:
        """Why packets cannot be relied on to be frames, or ''."""
        return self.index.doubt

    @property
    def packets_decoded(self) -> int:
        """Packets given to decoders so far, those of frames that the decoder skipped too."""
        return self._packets_decoded

    @property
    def codec_name(self) -> str:
        """FFmpeg's name of its decoder, e.g. ``'h264'``."""
        return self._stream.codec_context.name

    @property
    def extradata(self) -> bytes:
        """The codec's header that the container carries."""
        return self._stream.codec_context.extradata or b''

    @property
    def container_name(self) -> str:
        """The names FFmpeg has for its container, e.g. ``'matroska,webm'``."""
        return self._container.format.name

    @property
    def header_count(self) -> int:
        """Frames that the header speaks of; 0 where it does not say."""
        return self._stream.frames

    @property
    def header_seconds(self) -> float:
        """How long the header says it is; 0 where it does not say."""
        return max(0, self._container.duration or 0) / av.time_base

    @property
    def header_rate(self) -> float:
        """Frames a second as the header says; 0 where it does not say."""
        return float(max(self._stream.average_rate or 0, self._stream.base_rate or 0))

    @property
    def stored_size(self) -> tuple[int, int]:
        """(H, W) in pixels as the header says, before rotation."""
        return self._stream.codec_context.height, self._stream.codec_context.width

    def __len__(self) -> int:
        if self._count is None:
            self._count = sum(1 for _ in self._sequence())
        if not self._count:
            raise self._error('no frame of it decodes', DROP)
        return self._count

    def times(self) -> np.ndarray:
        stamps = self.index.times
        if self.doubt:
            told = [frame.pts for frame in self._sequence()]
            shown = [time for time in told if time is not None]
            self._count = len(told)
            if not told or len(shown) < len(told) or sorted(shown) != shown:
                raise self._error(
                    f'it does not say when each frame is shown ({self.doubt})',
                    're-encode it, or leave out start and end of its row',
                )
            stamps = np.array(shown, np.int64)
        unit = self._stream.time_base
        assert unit is not None  # of every stream that has packets
        return (stamps - stamps[0]) * unit.numerator / unit.denominator

    def iter_frames(self) -> Iterator[np.ndarray]:
        with closing(self._sequence()) as frames:
            for frame in frames:
                # the caller may write in it; some codecs decode on from that very memory
                yield self._picture(frame).copy()

    def first_as_others_see_it(self) -> av.VideoFrame:
        """The frame of the first packet, decoded by itself, cut out of the coded picture as FFmpeg does
        unless told otherwise.

        A left edge to be cut off moves outwards then, so that lines begin at round addresses: more is left
        than the header says.
        """
        with self._decoder() as context:
            context.flags &= ~Flags.unaligned
            for packet in chain(self._packets(0, 1), [None]):
                for frame in self._frames_of(context, packet):
                    return frame
        raise self._error('its first packet makes no picture', DROP)

    def close(self) -> None:
        self._kept = None
        self._idle.clear()
        self._container.close()

    def _read_index(self) -> VideoIndex:
        kept: list[av.Packet] = []

        def keeping() -> Iterator[av.Packet]:
            room = KEPT_BYTES
            for packet in packets_of(self._container, self._stream):
                room -= packet.size
                if room >= 0:
                    kept.append(packet)
                yield packet
            self._kept = kept if room >= 0 else None

        try:
            index = index_packets(keeping(), self._container, self._stream)
        except av.error.FFmpegError as error:
            raise self._error(f'reading it stops after {len(kept)} packets ({error})', DROP) from error
        if not index.doubt and not len(index.times):
            raise self._error('there is no picture in it', DROP)
        return index

    def _verified(self, index: VideoIndex) -> VideoIndex:
        """The index if decoding everything gives its frames; otherwise one in doubt."""
        doubtful = VideoIndex.in_doubt(index.doubt or 'not all its packets decode')
        self.index = doubtful  # decoding goes on after a packet that does not decode
        times = [frame.pts for frame in self._sequence()]
        self._count = len(times)
        return index if times == index.times.tolist() else doubtful

    def _decode(self, wanted: np.ndarray, make: Make | None = None) -> np.ndarray:
        with closing(self._pictures(wanted)) as pictures:
            return self._stack(pictures, len(wanted), make)

    def _walk(self, wanted: np.ndarray) -> Generator[np.ndarray, None, None]:
        early: dict[int, np.ndarray] = {}  # should a decoder's order of pictures not be that of their times
        turn = 0
        with closing(self._pictures(wanted)) as pictures:
            for row, picture in pictures:
                early[row] = picture
                while turn in early:
                    yield early.pop(turn).copy()  # as in iter_frames
                    turn += 1

    def _pictures(self, wanted: np.ndarray) -> Generator[tuple[int, np.ndarray], None, None]:
        """Pictures at ``wanted`` as they come out of the decoder, (row of ``wanted``, picture), and no packet
        decoded ahead of them."""
        return self._in_sequence(wanted) if self.doubt else self._by_index(wanted)

    def _in_sequence(self, wanted: np.ndarray) -> Generator[tuple[int, np.ndarray], None, None]:
        rows = {int(index): row for row, index in enumerate(wanted)}
        count = 0
        with closing(self._sequence()) as frames:
            for index, frame in enumerate(islice(frames, int(wanted[-1]) + 1)):
                count = index + 1
                row = rows.pop(index, None)
                if row is not None:
                    yield row, self._picture(frame)
        if rows:
            self._count = count  # all were decoded, no need to count again
            raise self._out_of_range(max(rows))

    def _by_index(self, wanted: np.ndarray) -> Generator[tuple[int, np.ndarray], None, None]:
        with self._decoder() as context:
            for first, last, rows in _runs(self.index, wanted):
                missing = {int(self.index.times[wanted[row]]): row for row in rows}
                for frame in self._run(context, first, last, frozenset(missing)):
                    row = None if frame.pts is None else missing.pop(frame.pts, None)
                    if row is not None:
                        yield row, self._picture(frame)
                if missing:
                    raise self._error(f'frame {wanted[min(missing.values())]} does not decode', DROP)

    def _run(
        self, context: av.VideoCodecContext, first: int, last: int, times: frozenset[int]
    ) -> Iterator[av.VideoFrame]:
        """What comes out of the packets ``first`` to ``last``; frames not shown at ``times`` may be
        missing."""
        # H.264 marks pictures that no other picture is decoded from; those need no decoding unless they are
        # wanted
        may_skip = context.name == 'h264'
        for packet in chain(self._packets(first, last + 1), [None]):
            if may_skip and packet is not None:
                context.skip_frame = 'DEFAULT' if packet.pts in times else 'NONREF'
            yield from self._frames_of(context, packet)
        context.flush_buffers()

    def _sequence(self) -> Generator[av.VideoFrame, None, None]:
        with self._decoder() as context:
            for packet in chain(self._packets(0, None), [None]):  # None asks for the frames held back
                yield from self._frames_of(context, packet)

    @contextmanager
    def _decoder(self) -> Iterator[av.VideoCodecContext]:
        """A decoder for one pass over packets, at its beginning."""
        # Passes may be left half-way and may interleave, so each has a decoder to itself; the packets kept
        # suit them all. To get one the file is opened, which takes as long as decoding several frames, so
        # they are used again and a file read by one pass has one.
        context = self._idle.pop() if self._idle else self._new_decoder()
        context.skip_frame = 'DEFAULT'
        context.flags |= Flags.unaligned  # cuts off what the header says, to the pixel
        try:
            yield context
        finally:
            context.flush_buffers()
            self._idle.append(context)

    def _new_decoder(self) -> av.VideoCodecContext:
        container, stream = self._open()
        container.close()  # a decoder does not need it: packets come from elsewhere
        return stream.codec_context

    def _frames_of(self, context: av.VideoCodecContext, packet: av.Packet | None) -> list[av.VideoFrame]:
        self._packets_decoded += packet is not None
        try:
            frames = context.decode(packet)
        except av.error.InvalidDataError as error:
            if self.doubt:
                return []
            raise self._error(
                f'one of its packets does not decode ({error})',
                'open it with exact=True to use the frames that do, or drop it from the list',
            ) from error
        except av.error.FFmpegError as error:
            raise self._error(error, DROP) from error
        self._decoded += len(frames)
        return frames

    def _packets(self, first: int, stop: int | None) -> Iterator[av.Packet]:
        if self._kept is not None:
            yield from self._kept[first:stop]
            return
        container, stream = self._open()
        with container:
            yield from islice(packets_of(container, stream), first, stop)

    def _picture(self, frame: av.VideoFrame) -> np.ndarray:
        """RGB ``(H, W, 3)``, a view of the decoder's memory, turned and mirrored as the file says."""
        matrix = display_matrix(frame)
        orientation = orientation_of(matrix)
        if orientation is None:
            assert matrix is not None  # a frame without one is upright
            raise self._error(
                f'it is to be turned by {frame.rotation} degrees or distorted (display matrix '
                f'{", ".join(map(str, matrix))})',
                're-encode it upright',
            )
        # one thread; bicubic is what torchcodec uses, and only counts where the height is odd or the depth is
        # not 8 bits
        frame_rgb = self._reformatter.reformat(
            self._plain(frame), format='rgb24', interpolation='BICUBIC', threads=1
        )
        plane, height, width = frame_rgb.planes[0], frame_rgb.height, frame_rgb.width
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        picture = lines[:, : width * 3].reshape(height, width, 3)  # (H, W, 3)
        return orientation.of(picture)

    def _plain(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame without the mark that it is interlaced.

        PyAV's conversion to RGB heeds it and upsamples the colour of each field by itself; the ffmpeg program
        and the other readers do not.
        """
        if not frame.interlaced_frame:
            return frame
        form = (frame.width, frame.height, frame.format.name)
        if form not in self._unmarking:
            graph = av.filter.Graph()
            source = graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=self._stream.time_base,
            )
            graph.link_nodes(source, graph.add('setfield', 'mode=prog'), graph.add('buffersink')).configure()
            self._unmarking = {form: graph}
        graph = self._unmarking[form]
        graph.push(frame)
        return graph.vpull()


def _runs(index: VideoIndex, wanted: np.ndarray) -> list[tuple[int, int, list[int]]]:
    """Stretches of packets to decode, (first, last, rows of ``wanted`` in them); stretches that touch are
    one."""
    runs: list[tuple[int, int, list[int]]] = []
    for row, (start, packet) in enumerate(
        zip(index.starts[wanted].tolist(), index.packets[wanted].tolist(), strict=True)
    ):
        if runs and start <= runs[-1][1] + 1:
            first, last, rows = runs[-1]
            runs[-1] = (first, max(last, packet), [*rows, row])
        else:
            runs.append((start, packet, [row]))
    return runs
