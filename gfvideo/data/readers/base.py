"""The protocol of readers, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import repeat
from typing import Protocol, Self

import numpy as np

from ..video_index import VideoError

__all__ = ['DROP', 'USE_PYAV', 'IndexedReader', 'Make', 'Reader']

Make = Callable[[np.ndarray], np.ndarray]
"""Makes of a picture ``(H, W, 3)`` uint8 another one, e.g. a smaller one."""

DROP = 'fetch it again, re-encode it, or drop it from the list'
USE_PYAV = "read it with reader='pyav'"


class Reader(Protocol):
    """What :func:`open_video` returns: a context manager that holds the file open until it is left or
    :meth:`close` is called."""

    def __len__(self) -> int:
        """The number of frames that decode."""

    @property
    def frame_size(self) -> tuple[int, int]:
        """(H, W) in pixels as shown, rotation applied."""

    @property
    def decoded(self) -> int:
        """Frames decoded so far, those on the way to others and those only counted too; a frame decoded twice
        counts twice.

        Of torchcodec and decord only the frames handed out count: what they decode on the way is not seen.
        """

    def times(self) -> np.ndarray:
        """Float64 ``(len(self),)``, when each frame is shown, in seconds from the first one.

        Raises:
            VideoError: if nothing says so, as of a folder of images.
        """

    def get_frames(self, indices: Sequence[int] | np.ndarray, make: Make | None = None) -> np.ndarray:
        """RGB frames ``(N, H, W, 3)`` uint8 at N ``indices`` from 0, in any order; a repeated one is decoded
        once.

        Args:
            indices: which frames.
            make: what to make of every distinct frame, all of one size, as soon as it is decoded, so that
                large frames are not gathered first only to be made small; it must not write in the frame.

        Raises:
            ValueError: not a list of at least one integer.
            IndexError: an index below 0 or not below ``len(self)``.
            VideoError: a frame that does not decode, or frames of different sizes.
        """

    def iter_at(self, indices: Sequence[int] | np.ndarray) -> Iterator[np.ndarray]:
        """RGB frames ``(H, W, 3)`` uint8 at ``indices`` from 0 that never decrease, one after the other, each
        decoded when asked for.

        From one frame to the next, decoding goes on where it was. Frames beyond the last one asked for are
        not decoded, but for the few that a codec with B-frames has to read before it gives a frame away. A
        repeated index gives the same array again. The iterator may be left half-way, and other methods may be
        called meanwhile.

        Raises:
            ValueError: not a list of at least one integer, or indices that decrease; raised by the call
                itself.
            IndexError: an index below 0 or not below ``len(self)``; raised by the call or, while the frames
                of a file are not counted yet, when there is no such frame to come.
            VideoError: a frame that does not decode, or is of another size than those before; raised when it
                is asked for.
        """

    def iter_frames(self) -> Iterator[np.ndarray]:
        """All frames one after the other, each ``(H, W, 3)`` uint8 RGB, decoded when asked for."""

    def close(self) -> None:
        """Close the file; a second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class IndexedReader:
    """What the readers share: indices are checked, and every distinct frame is decoded once, in order.

    A subclass gives ``close`` and ``_decode``, ``_walk`` too if it can do better than one ``_decode`` for
    each frame, sets ``_count`` and adds to ``_decoded``.
    """

    name: str

    def __init__(self, path: str):
        self.path = path
        self._count: int | None = None  # the number of frames, where it is known
        self._decoded = 0
        self._frame_size: tuple[int, int] | None = None

    def _decode(self, wanted: np.ndarray, make: Make | None = None) -> np.ndarray:
        """What ``make`` makes of the frames at ``wanted``, ``(n, H, W, 3)``: n >= 1 distinct indices,
        ascending, not below 0 and below the count if it is known. Sets ``_frame_size``."""
        raise NotImplementedError

    def _walk(self, wanted: np.ndarray) -> Generator[np.ndarray, None, None]:
        """The frames of ``_decode`` one after the other, each decoded when asked for."""
        for index in wanted:
            yield self._decode(index[None])[0]

    def close(self) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        assert self._count is not None  # a subclass that does not know it from the start counts here
        return self._count

    @property
    def decoded(self) -> int:
        return self._decoded

    def times(self) -> np.ndarray:
        raise self._error('nothing says when its frames are shown', 'leave out start and end of its row')

    def get_frames(self, indices: Sequence[int] | np.ndarray, make: Make | None = None) -> np.ndarray:
        indices = self._checked(indices)
        wanted, places = np.unique(indices, return_inverse=True)
        frames = self._decode(wanted, make)  # (n, H, W, 3)
        in_order = len(wanted) == len(indices) and (np.diff(places) > 0).all()
        return frames if in_order else frames[places]  # (N, H, W, 3)

    def iter_at(self, indices: Sequence[int] | np.ndarray) -> Iterator[np.ndarray]:
        indices = self._checked(indices)
        falls = np.flatnonzero(np.diff(indices) < 0)
        if falls.size:
            before, after = indices[falls[0] :][:2]
            raise ValueError(
                f'indices decrease from {before} to {after}; give them in the order in which the frames are'
                ' shown'
            )
        # not a generator itself, so that the checks come first
        return self._repeated(*np.unique(indices, return_counts=True))

    @property
    def frame_size(self) -> tuple[int, int]:
        if self._frame_size is None:
            self.get_frames([0])
        assert self._frame_size is not None  # decoding sets it
        return self._frame_size

    def iter_frames(self) -> Iterator[np.ndarray]:
        count, few = len(self), 16
        for first in range(0, count, few):
            yield from self.get_frames(range(first, min(first + few, count)))

    def _checked(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Int64 ``(N,)``, or an error."""
        indices = np.asarray(indices)
        if indices.ndim != 1 or not indices.size or indices.dtype.kind not in 'iu':
            raise ValueError(
                f'indices of shape {indices.shape} and type {indices.dtype}; give a list of at least one'
                ' integer'
            )
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
        return IndexError(
            f'{self.path}: there is no frame {index}, it has {len(self)} frames (0 to {len(self) - 1}); '
            'is its number of frames wrong in the list?'
        )

    def _error(self, reason: object, remedy: str) -> VideoError:
        return VideoError.of(self.path, self.name, reason, remedy)

    def _stack(
        self, pictures: Iterable[tuple[int, np.ndarray]], count: int, make: Make | None = None
    ) -> np.ndarray:
        """What ``make`` makes of ``count`` pictures, given as (row, picture), in one array, each copied
        once."""
        frames = size = None
        for row, picture in pictures:
            size = size or picture.shape[:2]
            self._check_size(picture, size)
            made = picture if make is None else make(picture)
            if frames is None:
                frames = np.empty((count, *made.shape), np.uint8)
            frames[row] = made
        assert frames is not None  # at least one picture is asked for
        self._frame_size = size
        return frames

    def _check_size(self, picture: np.ndarray, size: tuple[int, int]) -> None:
        if picture.shape[:2] != size:
            sizes = f'{size} and {picture.shape[:2]}'
            raise self._error(
                f'its frames have different sizes, {sizes}', 'make them one size or drop it from the list'
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
