"""Predictions that a test dumped, read without running what may hide among them."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

__all__ = ['PredictionsError', 'read_predictions']

_REMEDY = 'make the file with tools/test.py CONFIG CHECKPOINT --dump FILE.pkl'
_PLAIN = (str, bytes, int, float, complex, bool, type(None), Tensor, torch.dtype, np.generic)
ByteOrder = Literal['<', '>', '=']


class PredictionsError(ValueError):
    """A file is no dump of predictions; the message names it, what is wrong with it and the remedy."""


def read_predictions(path: str | PathLike[str]) -> list[dict[str, Any]]:
    """What ``tools/test.py --dump`` wrote: one dict a clip, see :class:`~gfvideo.structures.ClipSample`.

    Such a file is a pickle, and a pickle can name any function to be called while it is read. Here it can
    name those alone by which tensors, NumPy's numbers and arrays of numbers, and plain containers are made;
    whatever else it names is refused before it is looked up.

    Raises:
        FileNotFoundError: if there is no such file.
        PredictionsError: if it is damaged, names anything else, or holds no list of dicts.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no predictions at {path}; {_REMEDY}')
    try:
        with path.open('rb') as file:
            clips = _plain(_Unpickler(file).load())
    except _Foreign as error:
        raise PredictionsError(
            f'{path} holds {error}, which is no part of predictions: loading that could run a program '
            f'hidden in the file. It was not loaded; {_REMEDY}'
        ) from None
    # what damaged bytes, taken for calls, may raise
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        ImportError,
        RuntimeError,
        OverflowError,
        MemoryError,
        AssertionError,
    ) as error:
        told = (str(error).splitlines() or [''])[0][:200]
        raise PredictionsError(
            f'{path} is damaged or no dump of predictions ({type(error).__name__}: {told}); {_REMEDY}'
        ) from error
    if not isinstance(clips, list) or not all(isinstance(clip, dict) for clip in clips):
        raise PredictionsError(
            f'{path} holds a {type(clips).__name__}, not a list with a dict for every clip; {_REMEDY}'
        )
    return clips


class _Foreign(pickle.UnpicklingError):
    """The file names something that predictions do not consist of."""


class _Sealed:
    """A function that a pickle may call, and do nothing else with."""

    __slots__ = ('_function',)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise _Foreign('a change of what it calls')


class _NumberType:
    """NumPy's dtype while the file is read. The real one takes layouts that reach beyond an array's bytes."""

    __slots__ = ('_code', '_order')

    def __init__(self, code: str, *flags: Any):
        self._code = str(code)
        self._order: ByteOrder = '='
        if np.dtype(self._code).kind not in 'biufc':
            raise _Foreign(f'an array of {self._code!r} instead of numbers')

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ('<', '>', '='):
            self._order = state[1]

    def read(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data, np.dtype(self._code).newbyteorder(self._order)).copy()


class _Array:
    """NumPy's array while the file is read: it comes empty, and gets its content afterwards."""

    __slots__ = ('value',)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_columns, data = state
        self.value = kind.read(data).reshape(shape, order='F' if by_columns else 'C')


def _array_from_buffer(
    data: bytes | bytearray,
    kind: _NumberType,
    shape: tuple[int, ...],
    order: Literal['C', 'F'],
    axes: tuple[int, ...] | None = None,
) -> np.ndarray:
    values = kind.read(bytes(data))
    return values.reshape(shape, order=order) if axes is None else values.reshape(shape).transpose(axes)


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != 'latin1':
        raise _Foreign(f'text in {encoding!r}')
    return text.encode('latin1')


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ('collections', 'OrderedDict'): OrderedDict,
    ('_codecs', 'encode'): _latin1,  # bytes, as protocol 2 writes them
    ('torch', 'Size'): torch.Size,
    ('torch._utils', '_rebuild_tensor_v2'): torch._utils._rebuild_tensor_v2,
    # torch's own function of this name unpickles whatever it is given
    ('torch.storage', '_load_from_bytes'): lambda data: torch.load(
        io.BytesIO(data), map_location='cpu', weights_only=True
    ),
    ('numpy', 'dtype'): _NumberType,
    ('numpy', 'ndarray'): _Array,
}
for _core in ('numpy.core', 'numpy._core'):  # before and since NumPy 2
    _FUNCTIONS |= {
        (f'{_core}.multiarray', '_reconstruct'): lambda *_: _Array(),
        (f'{_core}.multiarray', 'scalar'): lambda kind, data: kind.read(data)[0],
        (f'{_core}.numeric', '_frombuffer'): _array_from_buffer,
    }
_KNOWN = {name: _Sealed(function) for name, function in _FUNCTIONS.items()}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        kind = getattr(torch, name, None) if module == 'torch' else None
        if isinstance(kind, torch.dtype):
            return kind
        raise _Foreign(f'{module}.{name}')


def _plain(value: Any) -> Any:
    """``value`` with arrays for what stood for them."""
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, torch.Size):
        return value
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, np.ndarray) or isinstance(value, _PLAIN):
        return value
    raise _Foreign(f'a {type(value).__name__}')
