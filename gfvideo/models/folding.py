"""Evaluation without batch normalisation: its numbers folded into the convolutions in front of it.

In evaluation a normalisation is one scale and one offset a channel, so a convolution with other weights does
its work, ``W' = W * s`` and ``b' = beta + (b - mean) * s`` with ``s = gamma / sqrt(var + eps)`` (Jacob et
al., CVPR 2018, Sec. 3.2). The weights of the network stay as they are: what runs is a copy, which shares with
it all that is not folded.

Which normalisations can go is found by watching one clip: such a one reads exactly what a convolution gave,
and nothing else reads that. A network of which this cannot be told, or whose copy answers otherwise, runs as
it is.
"""

from __future__ import annotations

import copy
import logging
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter, is_, itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, is_in_torch_dispatch_mode
from torch.utils._pytree import tree_leaves

from .backbones.base import Backbone
from .backbones.batch_norm import BatchNorm2d

__all__ = ['Folding']

Read = Callable[[Backbone], Sequence[Tensor]]
"""Reads one clip with a backbone, to its maps and its vectors."""

Pairs = list[tuple[str, str]]
"""Names of convolutions and of the normalisations behind them."""

# exactly these, for a subclass may do something else with its weights
CONVOLUTIONS = {'torch.nn.modules.conv.Conv2d', 'timm.layers.conv2d_same.Conv2dSame'}
WITH_ACTIVATION = 'timm.layers.norm_act.BatchNormAct2d'
NORMALISATIONS = {
    'torch.nn.modules.batchnorm.BatchNorm2d',
    'torch.nn.modules.batchnorm.SyncBatchNorm',
    f'{BatchNorm2d.__module__}.{BatchNorm2d.__qualname__}',
    WITH_ACTIVATION,
}

_making = threading.RLock()  # torch keeps one flag for all threads of whether operations are watched
_log = logging.getLogger(__name__)


class _Weights:
    """The tensors, modules and modes of a backbone as they were, and whether they still are.

    Asked at every call, so it goes by the dictionaries of the modules, in loops of the interpreter's own.
    """

    def __init__(self, backbone: Backbone):
        self.modules = list(backbone.modules())
        self._own = [vars(module) for module in self.modules]
        self._children = [own['_modules'].values() for own in self._own if own['_modules']]
        self._held = [
            held.values() for own in self._own for held in (own['_parameters'], own['_buffers']) if held
        ]
        self._hooks = [hooks for module in self.modules for hooks in _hooks_of(module)]
        self._were = list(chain.from_iterable(self._held))
        self.tensors = [tensor for tensor in self._were if tensor is not None]
        self._versions, self._places = self._versions_now(), self._places_now()
        self.structure = list(chain.from_iterable(self._children)), self._hooks_now()

    def _versions_now(self) -> list[int]:
        return list(map(attrgetter('_version'), self.tensors))

    def _places_now(self) -> list[int]:
        return list(map(Tensor.data_ptr, self.tensors))

    def _hooks_now(self) -> list[int]:
        return list(map(len, self._hooks))

    def same(self, backbone: Backbone) -> bool:
        """Whether nothing has changed."""
        return (
            backbone is self.modules[0]
            and all(map(is_, chain.from_iterable(self._children), self.structure[0]))
            and all(map(is_, chain.from_iterable(self._held), self._were))
            and self._versions_now() == self._versions
            and self._places_now() == self._places
            and self._hooks_now() == self.structure[1]
            and not any(map(itemgetter('training'), self._own))
        )

    def hooks(self) -> int:
        return sum(self._hooks_now())


class _Made(NamedTuple):
    """What runs for a backbone, itself where nothing can be folded; what it was made of; the pairs in it."""

    weights: _Weights
    runs: Backbone
    pairs: Pairs


class Folding:
    """The folded copy of one backbone, made when it is first asked for, and anew when the weights changed.

    The tensors tell that they changed, except where they are written behind torch's back
    (``parameter.data.copy_``): after that call :meth:`forget`, as ``train()`` and ``eval()`` of an encoder
    do. Threads may share it; copied or pickled, it starts empty.

    Args:
        backbone: as it is built; with further forward hooks on it, which a copy would not run, it runs
            itself.
    """

    def __init__(self, backbone: Backbone | None = None):
        modules = [] if backbone is None else backbone.modules()
        self._own_hooks = sum(len(hooks) for module in modules for hooks in _hooks_of(module))
        self._made: _Made | None = None
        self._stale = False

    def __getstate__(self) -> dict[str, Any]:
        return dict(_own_hooks=self._own_hooks, _made=None, _stale=False)

    def forget(self) -> None:
        """Make the copy anew when it is next asked for."""
        self._stale = True

    def of(self, backbone: Backbone, read: Read) -> Backbone:
        """What to run in evaluation without gradients: the folded copy of ``backbone``, or itself.

        Args:
            backbone: that of before, or another one.
            read: reads one clip with a backbone; called only where a copy is to be made.
        """
        made = self._made
        if made is None or self._stale or not made.weights.same(backbone):
            with _making:
                made = self._made  # of another thread, perhaps
                if made is None or self._stale or not made.weights.same(backbone):
                    made = self._make(backbone, read)
        return backbone if made is None else made.runs

    def _make(self, backbone: Backbone, read: Read) -> _Made | None:
        if is_in_torch_dispatch_mode():  # operations are being counted
            return None
        if not _have_memory(backbone) or (weights := _Weights(backbone)).hooks() != self._own_hooks:
            return None
        before = self._made
        known = before is not None and before.weights.structure == weights.structure
        self._stale = False
        made = _make(backbone, weights, read, before.pairs if known and before is not None else None)
        self._made = made
        return made


def _make(backbone: Backbone, weights: _Weights, read: Read, pairs: Pairs | None) -> _Made:
    with torch.inference_mode(False), torch.no_grad():
        nothing = _Made(weights, backbone, [])
        if not _plain(weights) or pairs == []:
            return nothing
        expected = (
            read(backbone) if pairs is None else None
        )  # first: what is wrong with the clip is said here
        try:
            folded = copy.deepcopy(backbone, {id(tensor): tensor for tensor in weights.tensors})
            pairs = _find_pairs(folded, read) if pairs is None else pairs
            for convolution, norm in pairs:
                _fold(folded, convolution, norm)
            if expected is not None and not _agree(expected, read(folded)):
                raise RuntimeError('the folded copy answers otherwise')
        except Exception as error:  # whatever a network of your own does not support
            _log.warning('%s runs without folding: %s', type(backbone).__name__, error)
            return nothing
        return _Made(weights, folded if pairs else backbone, pairs)


def _hooks_of(module: nn.Module) -> tuple[dict, dict]:
    return module._forward_pre_hooks, module._forward_hooks


def _have_memory(backbone: nn.Module) -> bool:
    """Whether the tensors tell that they change: not those of inference mode, nor those of transforms."""
    try:
        return all(
            tensor._version >= 0 and tensor.data_ptr() >= 0
            for tensor in (*backbone.parameters(), *backbone.buffers())
        )
    except RuntimeError:
        return False


def _plain(weights: _Weights) -> bool:
    """Whether a copy is to be had: in evaluation, not compiled, of tensors that are tensors."""
    return (
        not any(
            module.training or '_orig_mod' in module._modules or module._compiled_call_impl is not None
            for module in weights.modules
        )
        and all(type(tensor) in (Tensor, nn.Parameter) for tensor in weights.tensors)
        and not any(tensor.is_meta for tensor in weights.tensors)
    )


def _kind(module: nn.Module) -> str:
    return f'{type(module).__module__}.{type(module).__qualname__}' if 'forward' not in vars(module) else ''


class _Watch(TorchDispatchMode):
    """Notes which normalisations read what a convolution gave, as it gave it, and what else reads that."""

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self._ran: Counter[str] = Counter()
        self._alive: dict[int, str] = {}  # storages of what convolutions gave, and who gave it
        self._gave: dict[str, tuple[weakref.ref, int]] = {}
        self._others: Counter[str] = Counter()  # operations that read it beside the normalisation
        self._pairs: dict[str, str] = {}  # normalisation to convolution
        self._in_norm = False
        self._handles: list[Any] = []
        for name, module in backbone.named_modules():
            before, after = _hooks_of(module)
            if _kind(module) in CONVOLUTIONS and not after:
                self._handles.append(module.register_forward_hook(partial(self._convolved, name)))
            elif _kind(module) in NORMALISATIONS and not after and not before:
                self._handles += [
                    module.register_forward_pre_hook(partial(self._reads, name)),
                    module.register_forward_hook(partial(self._has_read, name)),
                ]

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if not self._in_norm:
            self._note((args, kwargs))
        return func(*args, **(kwargs or {}))

    def _note(self, values: Any) -> None:
        tensors = (value for value in tree_leaves(values) if isinstance(value, Tensor))
        self._others.update(self._alive[_storage(x)] for x in tensors if _storage(x) in self._alive)

    def _convolved(self, name: str, module: nn.Module, args: tuple, out: Tensor) -> None:
        storage = _storage(out)
        self._ran[name] += 1
        self._alive[storage] = name
        self._gave[name] = weakref.ref(out, lambda _: self._alive.pop(storage, None)), out._version

    def _reads(self, name: str, module: nn.Module, args: tuple) -> None:
        self._ran[name] += 1
        self._in_norm = True
        convolution = self._alive.get(_storage(args[0])) if len(args) == 1 else None
        if convolution is None:
            return
        gave, version = self._gave[convolution]
        x: Tensor = args[0]
        if gave() is x and x._version == version and not self._others[convolution]:
            self._pairs[name] = convolution

    def _has_read(self, name: str, module: nn.Module, args: tuple, out: Tensor) -> None:
        self._in_norm = False
        if args and _storage(out) == _storage(args[0]):  # overwritten: not read any more
            self._alive.pop(_storage(out), None)

    def end(self, answers: Sequence[Tensor]) -> Pairs:
        """The pairs, once the clip is read to these maps and vectors."""
        self._note(answers)
        for handle in self._handles:
            handle.remove()
        once = {name for name, runs in self._ran.items() if runs == 1}
        return [
            (convolution, norm)
            for norm, convolution in self._pairs.items()
            if {convolution, norm} <= once and not self._others[convolution]
        ]


def _storage(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _find_pairs(backbone: Backbone, read: Read) -> Pairs:
    """Convolutions and the normalisations that alone read what they give, in a clip that is read."""
    watch = _Watch(backbone)
    with watch:
        answers = read(backbone)
    modules = dict(backbone.named_modules())
    return [pair for pair in watch.end(answers) if _foldable(modules[pair[0]], modules[pair[1]])]


def _foldable(convolution: nn.Module, norm: nn.Module) -> bool:
    weight = convolution._parameters.get('weight')
    mean, variance = norm._buffers.get('running_mean'), norm._buffers.get('running_var')
    if weight is None or mean is None or variance is None or not weight.is_floating_point():
        return False
    tensors = *convolution.parameters(), *norm.parameters(), mean, variance
    return len(weight) == len(mean) and all(
        tensor.dtype == weight.dtype and tensor.device == weight.device for tensor in tensors
    )


def _fold(backbone: nn.Module, convolution_name: str, norm_name: str) -> None:
    convolution: Any = backbone.get_submodule(convolution_name)
    norm: Any = backbone.get_submodule(norm_name)
    weight, dtype = convolution.weight, torch.promote_types(convolution.weight.dtype, torch.float32)
    scale = (norm.running_var.to(dtype) + norm.eps).rsqrt()  # (out,)
    if norm.weight is not None:
        scale = scale * norm.weight.to(dtype)
    mean = norm.running_mean.to(dtype)
    if convolution.bias is not None:
        mean = mean - convolution.bias.to(dtype)
    offset = -mean * scale
    if norm.bias is not None:
        offset = offset + norm.bias.to(dtype)
    folded = weight.to(dtype) * scale.view(-1, 1, 1, 1)  # (out, in / groups, h, w)
    for name, value in dict(weight=folded, bias=offset).items():
        # no gradient is ever asked for, but autocast keeps the halves of such weights alone
        parameter = nn.Parameter(value.to(weight.dtype), requires_grad=weight.requires_grad)
        convolution.register_parameter(name, parameter)
    parent, _, child = norm_name.rpartition('.')
    left = nn.Sequential(norm.drop, norm.act) if _kind(norm) == WITH_ACTIVATION else nn.Identity()
    setattr(backbone.get_submodule(parent), child, left)


def _agree(expected: Sequence[Tensor], found: Sequence[Tensor]) -> bool:
    """Whether two answers are the same but for rounding."""
    return len(expected) == len(found) and all(
        torch.isfinite(b).all()
        and (a - b).abs().max() <= torch.finfo(a.dtype).eps ** 0.5 * (1 + a.abs().max())
        for a, b in zip(expected, found)
    )
