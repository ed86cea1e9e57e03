"""Frames of a video file or of a folder of images, at given indices, behind one protocol.

The same index is the same picture from every reader, turned as the file's rotation tag says, or there is a :class:`VideoError`; nothing
is ever substituted. On 8-bit video the pictures are equal bit for bit. The readers upsample the colour of 10-bit video differently:
there, pictures of one frame differ by up to 4 of 255 on average on a saturated test chart, and less on natural pictures.

====================  ===================================================================================================
``'pyav'``            reads what FFmpeg reads, also files with damaged packets or without times
``'torchcodec'``      optional, needs FFmpeg's libraries; refuses files whose packets are not their frames
``'decord'``          refuses the same, AV1, open groups of pictures (it gives wrong frames) and odd heights (other colours)
====================  ===================================================================================================
"""
from __future__ import annotations

import os
import re
import string
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from itertools import chain, islice, repeat
from types import ModuleType
from typing import Protocol

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from .video_index import VideoError, VideoIndex, index_packets, open_stream, packets_of

__all__ = ['READERS', 'ArrayReader', 'DecordReader', 'FolderReader', 'IndexedReader', 'PyAVReader', 'Reader', 'TorchCodecReader',
           'VideoError', 'open_video']

KEPT_BYTES = 64 * 2**20
"""Packets of a file up to this size stay in memory between the index and the decoder; those of a larger one are read again."""

DROP = 'fetch it again, re-encode it, or drop it from the list'
USE_PYAV = "read it with reader='pyav'"


class Reader(Protocol):
    """What :func:`open_video` returns: a context manager that holds the file open until it is left or :meth:`close` is called."""

    def __len__(self) -> int:
        """The number of frames that decode."""

    @property
    def frame_size(self) -> tuple[int, int]:
        """(H, W) in pixels as shown, rotation applied."""

    @property
    def decoded(self) -> int:
        """Frames decoded so far, those on the way to others and those only counted too; a frame decoded twice counts twice.

        Of torchcodec and decord only the frames handed out count: what they decode on the way is not seen.
        """

    def get_frames(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """RGB frames ``(N, H, W, 3)`` uint8 at N ``indices`` from 0, in any order; a repeated one is decoded once.

        Raises:
            ValueError: not a list of at least one integer.
            IndexError: an index below 0 or not below ``len(self)``.
            VideoError: a frame that does not decode, or frames of different sizes.
        """

    def iter_at(self, indices: Sequence[int] | np.ndarray) -> Iterator[np.ndarray]:
        """RGB frames ``(H, W, 3)`` uint8 at ``indices`` from 0 that never decrease, one after the other, each decoded when asked for.

        From one frame to the next, decoding goes on where it was. Frames beyond the last one asked for are not decoded, but for the few
        that a codec with B-frames has to read before it gives a frame away. A repeated index gives the same array again. The iterator may
        be left half-way, and other methods may be called meanwhile.

        Raises:
            ValueError: not a list of at least one integer, or indices that decrease; raised by the call itself.
            IndexError: an index below 0 or not below ``len(self)``; raised by the call or, while the frames of a file are not counted
                yet, when there is no such frame to come.
            VideoError: a frame that does not decode, or is of another size than those before; raised when it is asked for.
        """

    def iter_frames(self) -> Iterator[np.ndarray]:
        """All frames one after the other, each ``(H, W, 3)`` uint8 RGB, decoded when asked for."""

    def close(self) -> None:
        """Close the file; a second call does nothing."""

    def __enter__(self) -> Reader: ...

    def __exit__(self, *error: object) -> None: ...


def open_video(path: str | os.PathLike[str], reader: str = 'auto', *, exact: bool = False, template: str = '{:05d}.jpg',
               start: int = 1) -> Reader:
    """Open a video file, or a folder of images, for reading frames by index.

    Args:
        path: the file or the folder.
        reader: ``'torchcodec'``, ``'pyav'``, ``'decord'`` or ``'auto'``: torchcodec if it can be imported, else PyAV; a file that
            torchcodec refuses is read by PyAV, too. Not used for folders.
        exact: decode the whole file once to count its frames. Otherwise they are counted without decoding wherever packets can be
            relied on to be frames; a packet that then does not decode shows as a :class:`VideoError` when its frame is asked for.
        template, start: form of the names, and first number, of the images of a folder; not used for files.

    Returns:
        a :class:`Reader`; use it in a ``with`` statement.

    Raises:
        VideoError: the file cannot be read; the message says why and what to do.
        ValueError: no such reader.
        ImportError: the reader asked for cannot be imported.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        return FolderReader(path, template, start)
    if reader == 'auto':
        return _open_auto(path, exact)
    if reader not in READERS:
        raise ValueError(f'no reader is called {reader!r}; there are {", ".join(map(repr, ["auto", *READERS]))}')
    return READERS[reader](path, exact)


def _open_auto(path: str, exact: bool) -> Reader:
    if _torchcodec_imports():
        try:
            return TorchCodecReader(path, exact)
        except VideoError:
            pass                    # PyAV reads more, and gives the better reason if it does not
    return PyAVReader(path, exact)


class IndexedReader:
    """What the readers share: indices are checked, and every distinct frame is decoded once, in order.

    A subclass gives ``close`` and ``_decode``, ``_walk`` too if it can do better than one ``_decode`` for each frame, sets ``_count`` and
    adds to ``_decoded``.
    """

    name: str

    def __init__(self, path: str):
        self.path = path
        self._count: int | None = None              # the number of frames, where it is known
        self._decoded = 0
        self._frame_size: tuple[int, int] | None = None

    def _decode(self, wanted: np.ndarray) -> np.ndarray:
        """Frames ``(n, H, W, 3)`` at ``wanted``: n >= 1 distinct indices, ascending, not below 0 and below the count if it is known."""
        raise NotImplementedError

    def _walk(self, wanted: np.ndarray) -> Generator[np.ndarray, None, None]:
        """The frames of ``_decode`` one after the other, each decoded when asked for."""
        for index in wanted:
            yield self._decode(index[None])[0]

    def close(self) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        return self._count

    @property
    def decoded(self) -> int:
        return self._decoded

    def get_frames(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        indices = self._checked(indices)
        wanted, places = np.unique(indices, return_inverse=True)
        frames = self._decode(wanted)                                                    # (n, H, W, 3)
        self._frame_size = frames.shape[1:3]
        in_order = len(wanted) == len(indices) and (np.diff(places) > 0).all()
        return frames if in_order else frames[places]                                    # (N, H, W, 3)

    def iter_at(self, indices: Sequence[int] | np.ndarray) -> Iterator[np.ndarray]:
        indices = self._checked(indices)
        falls = np.flatnonzero(np.diff(indices) < 0)
        if falls.size:
            before, after = indices[falls[0]:][:2]
            raise ValueError(f'indices decrease from {before} to {after}; give them in the order in which the frames are shown')
        return self._repeated(*np.unique(indices, return_counts=True))      # not a generator itself, so that the checks come first

    @property
    def frame_size(self) -> tuple[int, int]:
        if self._frame_size is None:
            self.get_frames([0])
        return self._frame_size

    def iter_frames(self) -> Iterator[np.ndarray]:
        count, few = len(self), 16
        for first in range(0, count, few):
            yield from self.get_frames(range(first, min(first + few, count)))

    def _checked(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Int64 ``(N,)``, or an error."""
        indices = np.asarray(indices)
        if indices.ndim != 1 or not indices.size or indices.dtype.kind not in 'iu':
            raise ValueError(f'indices of shape {indices.shape} and type {indices.dtype}; give a list of at least one integer')
        for index in (indices.min(), indices.max()):
            if index < 0 or self._count is not None and index >= self._count:
                raise self._out_of_range(index)
        return indices.astype(np.int64)

    def _repeated(self, wanted: np.ndarray, counts: np.ndarray) -> Iterator[np.ndarray]:
        size = None
        with closing(self._walk(wanted)) as frames:
            for frame, count in zip(frames, counts.tolist(), strict=True):
                size = size or frame.shape[:2]
                self._check_size(frame, size)
                self._frame_size = size
                yield from repeat(frame, count)

    def _out_of_range(self, index: int) -> IndexError:
        return IndexError(f'{self.path}: there is no frame {index}, it has {len(self)} frames (0 to {len(self) - 1}); '
                          'is its number of frames wrong in the list?')

    def _error(self, reason: object, remedy: str) -> VideoError:
        return VideoError.of(self.path, self.name, reason, remedy)

    def _stack(self, pictures: Iterable[tuple[int, np.ndarray]], count: int) -> np.ndarray:
        """``count`` pictures given as (row, picture) in one array, each copied once."""
        frames = None
        for row, picture in pictures:
            if frames is None:
                frames = np.empty((count, *picture.shape), np.uint8)
            self._check_size(picture, frames.shape[1:3])
            frames[row] = picture
        return frames

    def _check_size(self, picture: np.ndarray, size: tuple[int, int]) -> None:
        if picture.shape[:2] != size:
            sizes = f'{size} and {picture.shape[:2]}'
            raise self._error(f'its frames have different sizes, {sizes}', 'make them one size or drop it from the list')

    def __enter__(self):
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class PyAVReader(IndexedReader):
    """Packets are read once and indexed; then only those from the key packet before a wanted frame up to that frame are decoded.

    There is no seeking, so nothing depends on how well a container can seek. Where the index is in doubt (``doubt`` says why) frames
    are decoded from the beginning and counted; packets that do not decode are no frames then.

    All reading decodes packet by packet, as far as frames are asked for. Each pass has a decoder to itself, so passes may interleave.
    """

    name = 'pyav'

    def __init__(self, path: str, exact: bool = False):
        super().__init__(path)
        self._container, self._stream = open_stream(path, self.name)
        self._reformatter = VideoReformatter()      # keeps its tables from frame to frame
        self._kept: list[av.Packet] | None = None
        self._idle = [self._stream.codec_context]
        try:
            self.index = self._read_index()
            self._count = len(self.index.times) or None
            if exact:
                self.index = self._verified(self.index)
        except BaseException:
            self.close()
            raise

    @property
    def doubt(self) -> str:
        """Why packets cannot be relied on to be frames, or ''."""
        return self.index.doubt

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

    def iter_frames(self) -> Iterator[np.ndarray]:
        with closing(self._sequence()) as frames:
            for frame in frames:
                yield self._picture(frame).copy()   # the caller may write in it; some codecs decode on from that very memory

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
        self.index = doubtful                      # decoding goes on after a packet that does not decode
        times = [frame.pts for frame in self._sequence()]
        self._count = len(times)
        return index if np.array_equal(times, index.times) else doubtful

    def _decode(self, wanted: np.ndarray) -> np.ndarray:
        with closing(self._pictures(wanted)) as pictures:
            return self._stack(pictures, len(wanted))

    def _walk(self, wanted: np.ndarray) -> Generator[np.ndarray, None, None]:
        early: dict[int, np.ndarray] = {}           # should a decoder's order of pictures not be that of their times
        turn = 0
        with closing(self._pictures(wanted)) as pictures:
            for row, picture in pictures:
                early[row] = picture
                while turn in early:
                    yield early.pop(turn).copy()    # as in iter_frames
                    turn += 1

    def _pictures(self, wanted: np.ndarray) -> Generator[tuple[int, np.ndarray], None, None]:
        """Pictures at ``wanted`` as they come out of the decoder, (row of ``wanted``, picture), and no packet decoded ahead of them."""
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
            self._count = count                     # all were decoded, no need to count again
            raise self._out_of_range(max(rows))

    def _by_index(self, wanted: np.ndarray) -> Generator[tuple[int, np.ndarray], None, None]:
        with self._decoder() as context:
            for first, last, rows in _runs(self.index, wanted):
                missing = {int(self.index.times[wanted[row]]): row for row in rows}
                for frame in self._run(context, first, last, frozenset(missing)):
                    row = missing.pop(frame.pts, None)
                    if row is not None:
                        yield row, self._picture(frame)
                if missing:
                    raise self._error(f'frame {wanted[min(missing.values())]} does not decode', DROP)

    def _run(self, context: av.VideoCodecContext, first: int, last: int, times: frozenset[int]) -> Iterator[av.VideoFrame]:
        """What comes out of the packets ``first`` to ``last``; frames not shown at ``times`` may be missing."""
        # H.264 marks pictures that no other picture is decoded from; those need no decoding unless they are wanted
        may_skip = context.name == 'h264'
        for packet in chain(self._packets(first, last + 1), [None]):
            if may_skip and packet is not None:
                context.skip_frame = 'DEFAULT' if packet.pts in times else 'NONREF'
            yield from self._frames_of(context, packet)
        context.flush_buffers()

    def _sequence(self) -> Generator[av.VideoFrame, None, None]:
        with self._decoder() as context:
            for packet in chain(self._packets(0, None), [None]):        # None asks for the frames held back
                yield from self._frames_of(context, packet)

    @contextmanager
    def _decoder(self) -> Iterator[av.VideoCodecContext]:
        """A decoder for one pass over packets, at its beginning."""
        # Passes may be left half-way and may interleave, so each has a decoder to itself; the packets kept suit them all. To get one the
        # file is opened, which takes as long as decoding several frames, so they are used again and a file read by one pass has one.
        context = self._idle.pop() if self._idle else self._new_decoder()
        context.skip_frame = 'DEFAULT'
        try:
            yield context
        finally:
            context.flush_buffers()
            self._idle.append(context)

    def _new_decoder(self) -> av.VideoCodecContext:
        container, stream = open_stream(self.path, self.name)
        container.close()                           # a decoder does not need it: packets come from elsewhere
        return stream.codec_context

    def _frames_of(self, context: av.VideoCodecContext, packet: av.Packet | None) -> list[av.VideoFrame]:
        try:
            frames = context.decode(packet)
        except av.error.InvalidDataError as error:
            if self.doubt:
                return []
            raise self._error(f'one of its packets does not decode ({error})',
                              'open it with exact=True to use the frames that do, or drop it from the list') from error
        except av.error.FFmpegError as error:
            raise self._error(error, DROP) from error
        self._decoded += len(frames)
        return frames

    def _packets(self, first: int, stop: int | None) -> Iterator[av.Packet]:
        if self._kept is not None:
            yield from self._kept[first:stop]
            return
        container, stream = open_stream(self.path, self.name)
        with container:
            yield from islice(packets_of(container, stream), first, stop)

    def _picture(self, frame: av.VideoFrame) -> np.ndarray:
        """RGB ``(H, W, 3)``, a view of the decoder's memory, turned as the file says."""
        # one thread; bicubic is what torchcodec uses, and only counts where the height is odd or the depth is not 8 bits
        frame_rgb = self._reformatter.reformat(frame, format='rgb24', interpolation='BICUBIC', threads=1)
        plane, height, width = frame_rgb.planes[0], frame_rgb.height, frame_rgb.width
        lines = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
        picture = lines[:, :width * 3].reshape(height, width, 3)                         # (H, W, 3)
        if frame.rotation % 90:
            raise self._error(f'it is to be turned by {frame.rotation} degrees', 're-encode it upright')
        return np.rot90(picture, frame.rotation // 90)


def _runs(index: VideoIndex, wanted: np.ndarray) -> list[tuple[int, int, list[int]]]:
    """Stretches of packets to decode, (first, last, rows of ``wanted`` in them); stretches that touch are one."""
    runs: list[tuple[int, int, list[int]]] = []
    for row, (start, packet) in enumerate(zip(index.starts[wanted].tolist(), index.packets[wanted].tolist(), strict=True)):
        if runs and start <= runs[-1][1] + 1:
            first, last, rows = runs[-1]
            runs[-1] = (first, max(last, packet), [*rows, row])
        else:
            runs.append((start, packet, [row]))
    return runs


class _CheckedReader(IndexedReader):
    """Another library's decoder, used only for files whose frames the index vouches for.

    Asked for a later frame than the last, both libraries decode on from there unless a key frame lies between; so ``iter_at`` asks them
    for one frame at a time.
    """

    def __init__(self, path: str, exact: bool, errors: tuple[type[Exception], ...]):
        super().__init__(path)
        self._errors = errors
        with PyAVReader(path, exact) as reference:
            if reference.doubt:
                raise self._error(reference.doubt, USE_PYAV)
            self._count, self._index, self._stored_size = len(reference), reference.index, reference.stored_size

    def _read(self, indices: list[int]) -> np.ndarray:
        """Frames ``(n, H, W, 3)`` uint8."""
        raise NotImplementedError

    def _decode(self, wanted: np.ndarray) -> np.ndarray:
        frames = self._attempt(self._read, wanted.tolist())
        self._decoded += len(frames)
        return frames

    def _check_count(self, count: int) -> None:
        if count != self._count:
            raise self._error(f'it counts {count} frames where there are {self._count}', USE_PYAV)

    def _attempt(self, call: Callable, *args: object, **kwargs: object):
        try:
            return call(*args, **kwargs)
        except self._errors as error:
            raise self._error(' '.join(str(error).split()), USE_PYAV) from error


class TorchCodecReader(_CheckedReader):
    """torchcodec's ``VideoDecoder`` in its exact mode, one thread."""

    name = 'torchcodec'

    def __init__(self, path: str, exact: bool = False):
        decoders = _import_torchcodec()
        super().__init__(path, exact, (RuntimeError, ValueError, IndexError, KeyError, OSError))
        self._decoder = self._attempt(decoders.VideoDecoder, os.path.abspath(path), dimension_order='NHWC', num_ffmpeg_threads=1,
                                      seek_mode='exact')
        self._check_count(len(self._decoder))

    def _read(self, indices: list[int]) -> np.ndarray:
        return self._decoder.get_frames_at(indices).data.numpy()

    def close(self) -> None:
        self._decoder = None


class DecordReader(_CheckedReader):
    """decord's ``VideoReader``, told to raise where it would silently repeat a frame, one thread."""

    name = 'decord'

    def __init__(self, path: str, exact: bool = False):
        decord = _import_decord()
        super().__init__(path, exact, (decord.DECORDError, RuntimeError, ValueError, IndexError, KeyError, OSError))
        if self._stored_size[0] % 2:
            raise self._error(f'its height is odd ({self._stored_size[0]}), and decord gives such pictures other colours', USE_PYAV)
        if self._index.has_leading:
            raise self._error('it has frames that refer back across a key frame, and decord gives wrong ones there', USE_PYAV)
        self._decoder = self._attempt(decord.VideoReader, os.path.abspath(path), num_threads=1, fault_tol=1)
        self._check_count(len(self._decoder))

    def _read(self, indices: list[int]) -> np.ndarray:
        return self._decoder.get_batch(indices).asnumpy()

    def close(self) -> None:
        self._decoder = None


READERS: dict[str, Callable[[str, bool], Reader]] = {'torchcodec': TorchCodecReader, 'pyav': PyAVReader, 'decord': DecordReader}


def _import_torchcodec() -> ModuleType:
    """``torchcodec.decoders``; a torchcodec built for another torch or without FFmpeg raises RuntimeError or OSError."""
    try:
        from torchcodec import decoders
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError(f"torchcodec cannot be imported ({str(error).splitlines()[0]}); use reader='pyav'") from error
    return decoders


@cache
def _torchcodec_imports() -> bool:
    try:
        _import_torchcodec()
    except ImportError:
        return False
    return True


def _import_decord() -> ModuleType:
    try:
        import decord
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError(f"decord cannot be imported ({error}); install it (pip install decord) or use reader='pyav'") from error
    decord.logging.set_level(decord.logging.QUIET)      # what goes wrong is raised
    return decord


class FolderReader(IndexedReader):
    """A folder of numbered images, one a frame; frame 0 is the image with number ``start``.

    Args:
        path: the folder.
        template: form of the names with one number, ``'{:05d}.jpg'`` or ``'img_{:05d}.jpg'``; other files are not frames.
        start: number of the first image.

    Raises:
        VideoError: no image of that form, or a number missing between the first and the last.
        ValueError: a template without exactly one number.
    """

    name = 'folder'

    def __init__(self, path: str, template: str = '{:05d}.jpg', start: int = 1):
        super().__init__(path)
        self.template, self.start = template, start
        self._count = self._count_images()

    def close(self) -> None:
        pass

    def iter_frames(self) -> Iterator[np.ndarray]:
        return self._walk(np.arange(len(self)))

    def _walk(self, wanted: np.ndarray) -> Generator[np.ndarray, None, None]:
        return (self._image(index) for index in wanted.tolist())

    def _decode(self, wanted: np.ndarray) -> np.ndarray:
        return self._stack(((row, self._image(index)) for row, index in enumerate(wanted.tolist())), len(wanted))

    def _count_images(self) -> int:
        pattern = _pattern_of(self.template)
        if not os.path.isdir(self.path):
            raise self._error('there is no such folder', 'correct the path or the root of the dataset')
        matches = (pattern.fullmatch(name) for name in os.listdir(self.path))
        numbers = {int(match[1]) for match in matches if match and self.template.format(int(match[1])) == match.string}
        if not numbers:
            raise self._error(f'no image in it is named like {self.template.format(self.start)}', 'correct the template or the path')
        gaps = set(range(self.start, max(numbers) + 1)) ^ numbers
        if gaps:
            what = 'is missing' if min(gaps) not in numbers else f'comes before the first number, {self.start}'
            raise self._error(f'{self.template.format(min(gaps))} {what}', 'extract its frames again, or correct the start')
        return len(numbers)

    def _image(self, index: int) -> np.ndarray:
        file = os.path.join(self.path, self.template.format(index + self.start))
        image = cv2.imread(file, cv2.IMREAD_COLOR)
        if image is None:
            raise self._error(f'{os.path.basename(file)} is no image', 'extract its frames again')
        self._decoded += 1
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)                         # (H, W, 3)


@cache
def _pattern_of(template: str) -> re.Pattern[str]:
    parts = list(string.Formatter().parse(template))
    if sum(field is not None for _, field, _, _ in parts) != 1:
        raise ValueError(f"the template {template!r} must hold one number, as '{{:05d}}.jpg' does")
    return re.compile(''.join(re.escape(text) + (r'(\d+)' if field is not None else '') for text, field, _, _ in parts))


class ArrayReader(IndexedReader):
    """Frames in memory ``(N, H, W, 3)`` uint8 RGB; those handed out count as decoded.

    Raises:
        ValueError: if an array is not frames.
    """

    name = 'array'

    def __init__(self, frames: np.ndarray):
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
            raise ValueError(f'an array of shape {frames.shape} and type {frames.dtype} is no video; give frames (N, H, W, 3) uint8 RGB')
        super().__init__('the array')
        self.frames, self._count, self._frame_size = frames, len(frames), frames.shape[1:3]

    def close(self) -> None:
        pass

    def _decode(self, wanted: np.ndarray) -> np.ndarray:
        self._decoded += len(wanted)
        return self.frames[wanted]
