"""Any image network of timm as a backbone: convolutional, or of tokens in one or several stages."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...registry import MODELS
from ..temporal import TemporalContext, temporal_context
from .base import Backbone, Maps

__all__ = ['TimmBackbone']


class _Kept(threading.local):
    """The maps of the forward pass that this thread runs, by stride."""

    maps: dict[int, Tensor] | None = None


_kept = _Kept()
# arguments of timm.create_model
_READS = {'checkpoint_path', 'pretrained_cfg', 'pretrained_cfg_overlay', 'cache_dir'}
_BESIDE = re.compile(r'(^|[._])(stem|downsample|shortcut|skip)')  # no part of a residual branch


def _keep(stride: int, module: nn.Module, args: tuple, out: Tensor) -> None:
    if _kept.maps is not None:
        _kept.maps[stride] = out


class _Trace(NamedTuple):
    """What a forward pass told.

    Attributes:
        started: names of the convolutions and linear layers that ran on something with a row for each image,
            in order.
        done: how many modules were through after each map, by stride.
        finished: names of the modules that were run, in the order in which they were through.
        tokens: whether ``forward_features`` returns tokens ``(N, L, C)`` and no map.
        channels_last: whether that map is ``(N, h, w, C)``.
        vector_channels: F of the vectors.
    """

    started: list[str]
    done: dict[int, int]
    finished: list[str]
    tokens: bool
    channels_last: bool
    vector_channels: int


@MODELS.register_module()
class TimmBackbone(Backbone):
    """A network of timm (``pip install "gfvideo[timm]"``) without its classifier; its parameters keep timm's
    names behind ``model.``

    Args:
        name: a name that ``timm.list_models()`` knows, e.g. 'convnext_tiny' or 'resnet50.a1_in1k'.
        pretrained: let ``init_weights`` read timm's weights of that name, from its cache or the network;
            building the network, or loading a checkpoint into it, needs neither.
        shift_points: timm's names of the modules in front of which the temporal shift goes; None to find them
            (see ``shift_points``).
        timm_kwargs: further arguments of ``timm.create_model``, e.g. ``img_size=96`` for networks of one
            image size.

    ``forward`` takes images ``(N, 3, H, W)`` and returns the feature maps by stride,
    ``{4: (N, C, h, w), ...}``; maps finer than a quarter are left out, a network of tokens of one size has
    one map. The deepest is what ``forward_features`` returns. Where the vector is not made from it but from a
    class token, it stands beside the maps, under 'vector'. ``channels`` holds the channels of each map,
    ``map_size`` tells their sizes. One small forward pass on opening tells the layout of the maps and the
    places of the shift.

    Raises:
        ImportError: if timm is not installed.
        ValueError: if timm does not know the name, or the network has no stages that could be told apart.
    """

    @staticmethod
    def refused(settings: dict[str, Any]) -> str:
        """What of settings that a file carries is not followed: all that makes timm read other files, or
        fetch them."""
        if not isinstance(settings.get('name'), str) or not re.fullmatch(r'\w+(\.\w+)?', settings['name']):
            return f'has name={settings.get("name")!r}, which is no name of timm.list_models()'
        reads = sorted(set(settings) & _READS)
        return (
            f'has {", ".join(f"{key}={settings[key]!r}" for key in reads)}, which makes timm read other files'
            if reads
            else ''
        )

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        shift_points: Sequence[str] | None = None,
        **timm_kwargs: Any,
    ):
        super().__init__()
        try:
            import timm
        except ImportError as error:
            raise ImportError(
                f'TimmBackbone(name={name!r}) needs timm, which is not installed; pip install "gfvideo[timm]"'
            ) from error
        except RuntimeError as error:  # what a torchvision of another build than torch's says
            raise ImportError(
                f'TimmBackbone(name={name!r}): timm does not load ({error}); it needs the torchvision that'
                f' belongs to torch {torch.__version__}, from the same index, e.g. the one for CPUs'
            ) from error
        base = name.split('.')[0]
        if ':' not in name and not timm.is_model(base):  # hf-hub:OWNER/NAME is looked up elsewhere
            near = get_close_matches(base, timm.list_models(), 5)
            raise ValueError(
                f'timm {timm.__version__} has no model {name!r}; choose one of timm.list_models()'
                + (f', such as {near}' if near else '')
            )
        self.name, self.pretrained = name, pretrained
        self._timm_kwargs = {'num_classes': 0, **timm_kwargs}
        self.model = timm.create_model(name, **self._timm_kwargs)
        stages = self._stages()
        self.last_stride = max(stages)
        self.channels: dict[int, int] = {stride: info['num_chs'] for stride, info in stages.items()}
        self.channels[self.last_stride] = self.model.num_features
        modules = dict(self.model.named_modules())
        if missing := [info['module'] for info in stages.values() if info['module'] not in modules]:
            raise ValueError(
                f'timm model {name!r} says that its feature maps come from {missing}, which it does not have;'
                ' choose another'
            )
        for stride, info in stages.items():
            modules[info['module']].register_forward_hook(partial(_keep, stride))
        self._trace = self._run_once(timm_kwargs.get('img_size'))
        self.vector_channels: int = self._trace.vector_channels
        self._points = (
            None if shift_points is None else [point.removeprefix('model.') for point in shift_points]
        )

    def _stages(self) -> dict[int, dict[str, Any]]:
        """timm's feature information by stride, the last of each stride."""
        infos = getattr(self.model, 'feature_info', None)
        infos = infos if isinstance(infos, list) or infos is None else infos.get_dicts()
        if not infos or not all(
            hasattr(self.model, part) for part in ('forward_features', 'forward_head', 'num_features')
        ):
            raise ValueError(
                f'timm model {self.name!r} does not say where its feature maps are, so it cannot be a'
                ' backbone; choose one with feature_info, forward_features and forward_head'
            )
        by_stride = {info['reduction']: info for info in infos}
        return {
            stride: info
            for stride, info in sorted(by_stride.items())
            if stride >= 4 or stride == max(by_stride)
        }

    # ----------------------------------------------------------------------------------- a pass to learn from

    def _probe_size(self, wanted: int | Sequence[int] | None) -> tuple[int, int]:
        fixed = getattr(getattr(self.model, 'patch_embed', None), 'img_size', None) or wanted
        config = self.model.pretrained_cfg
        if fixed is None and config.get('fixed_input_size'):
            fixed = config['input_size'][1:]
        if fixed is None:
            return (128, 128)
        return (fixed, fixed) if isinstance(fixed, int) else tuple(fixed)

    @contextmanager
    def _as_at_test(self) -> Iterator[Tensor]:
        """Evaluation mode, one frame a clip; yields a tensor of the dtype and device of the parameters."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            with torch.no_grad(), temporal_context(TemporalContext(1, 'causal', 2)):
                yield next(self.parameters())
        finally:
            for module, training in modes:
                module.training = training

    def _run_once(self, img_size: int | Sequence[int] | None) -> _Trace:
        images, started, finished, done, handles = 2, [], [], {}, []

        def start(name: str, module: nn.Module, args: tuple) -> None:
            if args and isinstance(args[0], Tensor) and args[0].dim() > 1 and args[0].shape[0] % images == 0:
                started.append(name)

        def finish(name: str, *_: Any) -> None:
            finished.append(name)
            done.update({stride: len(finished) for stride in stage_of.get(name, ())})

        stage_of: dict[str, list[int]] = {}
        for stride, info in self._stages().items():
            stage_of.setdefault(info['module'], []).append(stride)
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                handles.append(module.register_forward_pre_hook(partial(start, name)))
            handles.append(module.register_forward_hook(partial(finish, name)))
        try:
            with self._as_at_test() as like:
                out = self.model.forward_features(like.new_zeros(images, 3, *self._probe_size(img_size)))
                done[self.last_stride], before = len(finished), len(started)
                vector = self.model.forward_head(out, pre_logits=True)
        finally:
            for handle in handles:
                handle.remove()
        if not isinstance(out, Tensor) or out.dim() not in (3, 4) or vector.dim() != 2:
            raise ValueError(
                f'timm model {self.name!r} returns neither maps nor tokens; choose an image classification'
                ' network'
            )
        channels_last = out.dim() == 4 and self._channels_last(self.last_stride, out.shape)
        return _Trace(
            started[:before],
            done,
            finished[: done[self.last_stride]],
            out.dim() == 3,
            channels_last,
            vector.shape[1],
        )

    # --------------------------------------------------------------------------------------- maps and vectors

    @property
    def _prefix(self) -> int:
        return getattr(self.model, 'num_prefix_tokens', 0)

    @property
    def _vector_needs_tokens(self) -> bool:
        pooled = getattr(self.model, 'global_pool', None) in ('avg', 'max', 'avgmax')
        return bool(self._prefix) and (not pooled or getattr(self.model, 'pool_include_prefix', False))

    def _channels_last(self, stride: int, shape: Sequence[int]) -> bool:
        if getattr(self.model, 'output_fmt', None) is not None:
            return str(getattr(self.model.output_fmt, 'value', self.model.output_fmt)) == 'NHWC'
        return shape[1] != self.channels[stride] == shape[3]

    def _as_map(self, stride: int, x: Tensor, size: tuple[int, int]) -> Tensor:
        """A stage's output, a map or tokens ``(N, L, C)``, as a map ``(N, C, h, w)``; ``size`` is that of the
        image."""
        if x.dim() == 4:
            return x.movedim(-1, 1) if self._channels_last(stride, x.shape) else x
        tokens = x[:, self._prefix :]  # (N, h*w, C)
        heights, widths = ((side // stride, -(-side // stride)) for side in size)
        grid = next(((h, w) for h in heights for w in widths if h * w == tokens.shape[1]), None)
        if grid is None:
            raise ValueError(
                f'{tokens.shape[1]} tokens of timm model {self.name!r} make no map of stride {stride} of an'
                f' image of {size}; choose an image size that the stride divides'
            )
        return tokens.transpose(1, 2).unflatten(2, grid)  # (N, C, h, w)

    def forward(self, x: Tensor) -> Maps:
        kept: dict[int, Tensor] = {}
        size = x.shape[2], x.shape[3]
        before, _kept.maps = _kept.maps, kept
        try:
            out = self.model.forward_features(x)
        except AssertionError as error:  # timm's word on a network of one image size
            raise ValueError(
                f'timm model {self.name!r} does not take images of {size[0]} x {size[1]} pixels ({error});'
                ' give img_size=... in the config of the backbone'
            ) from error
        finally:
            _kept.maps = before
        kept[self.last_stride] = out
        maps: Maps = {stride: self._as_map(stride, kept[stride], size) for stride in self.channels}
        if self._vector_needs_tokens:
            maps['vector'] = self.model.forward_head(out, pre_logits=True)
        return maps

    def to_vector(self, deepest: Tensor) -> Tensor:
        """``(N, C, h, w)``, the deepest map, to ``(N, vector_channels)``, which timm's classifier would
        read."""
        if self._vector_needs_tokens:
            raise ValueError(
                f'the vector of timm model {self.name!r} is made from its class token, which no map holds;'
                " take the one that forward returns under 'vector', or open the model with"
                " global_pool='avg'"
            )
        if self._trace.tokens:
            # (N, h*w, C); those in front are not averaged: any will do
            tokens = deepest.flatten(2).transpose(1, 2)
            deepest = torch.cat([tokens[:, :1].expand(-1, self._prefix, -1), tokens], 1)
        elif self._trace.channels_last:
            deepest = deepest.movedim(1, -1)  # (N, h, w, C)
        return self.model.forward_head(deepest, pre_logits=True)

    def map_size(self, size: tuple[int, int], stride: int) -> tuple[int, int]:
        """(h, w) of the map at ``stride`` for images of ``size`` (H, W), found by a forward pass."""
        with self._as_at_test() as like:
            return tuple(self(like.new_zeros(1, 3, *size))[stride].shape[2:])

    # ------------------------------------------------------------------------------- the rest of the contract

    def init_weights(self) -> None:
        """timm's weights of the name, if ``pretrained``; else those that timm drew when it opened the
        network."""
        if self.pretrained:
            import timm

            self.model.load_state_dict(
                timm.create_model(self.name, pretrained=True, **self._timm_kwargs).state_dict()
            )

    def shift_points(self) -> list[str]:
        """The names that were given, or the first convolution or linear layer of every residual branch that
        timm's layout shows.

        Blocks that say that they have no skip connection are left out, unless none has one: then it is the
        first convolution of every block. Of a block with attention and a perceptron those are two branches.

        Raises:
            ValueError: if no block is found.
        """
        points = self._points if self._points is not None else self._find_points()
        if not points:
            raise ValueError(
                f'no residual blocks found in timm model {self.name!r} to put the temporal shift into; '
                'name its convolutions with shift_points=[...]'
            )
        return [f'model.{point}' for point in points]

    def _find_points(self) -> list[str]:
        roots = dict.fromkeys(info['module'].split('.')[0] for info in self._stages().values())
        children = dict(self.model.named_children())
        blocks = [block for root in roots for block in _blocks(root, children[root])]
        with_skip = [block for block in blocks if getattr(block[1], 'has_skip', True)]
        points: list[str] = []
        for name, block in with_skip or blocks:
            names = {child for child, _ in block.named_children()}
            branches = [f'{name}.attn.', f'{name}.mlp.'] if {'attn', 'mlp'} <= names else [f'{name}.']
            for branch in branches:
                inside = (
                    point
                    for point in self._trace.started
                    if point.startswith(branch) and not _BESIDE.search(point[len(name) + 1 :])
                )
                points += [
                    point for point in [next(inside, None)] if point is not None and point not in points
                ]
        return points

    def layers_up_to(self, stride: int) -> list[nn.Module]:
        """The layers that make the map at ``stride``, and a list of the parameters that belong to none of
        them (a position embedding)."""
        if stride not in self.channels:
            raise ValueError(
                f'timm model {self.name!r} has no map at stride {stride}; choose one of'
                f' {sorted(self.channels)}'
            )
        through = set(self._trace.finished[: self._trace.done[stride]])
        modules = dict(self.model.named_modules())
        layers = [
            modules[name] for name in through if not any(parent in through for parent in _parents(name))
        ]
        around = {parent for name in through for parent in (*_parents(name), '')} - through
        own = [parameter for name in sorted(around) for parameter in modules[name].parameters(recurse=False)]
        return layers + ([nn.ParameterList(own)] if own else [])

    def rename_pretrained(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """timm's names, or these with ``model.`` in front, without the classifier; a leading ``module.`` is
        stripped."""
        plain = {
            key.removeprefix('module.').removeprefix('model.'): value for key, value in state_dict.items()
        }
        named = self.model.pretrained_cfg.get('classifier') or ()
        classifiers = (named,) if isinstance(named, str) else tuple(named)
        own = self.model.state_dict()
        return {
            f'model.{key}': value
            for key, value in plain.items()
            if key in own or not any(key.startswith(f'{classifier}.') for classifier in classifiers)
        }


def _parents(name: str) -> list[str]:
    """'a.b.c' -> ['a', 'a.b']."""
    parts = name.split('.')
    return ['.'.join(parts[:i]) for i in range(1, len(parts))]


def _blocks(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The blocks inside a stage or list of stages, by name: what is neither a container nor a single
    layer."""
    children = list(module.named_children())
    if not children or _BESIDE.search(name):
        return
    blocks = getattr(module, 'blocks', None)
    if isinstance(blocks, nn.Module):
        yield from _blocks(f'{name}.blocks', blocks)
    elif isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict) or _repeats(children):
        for child, inside in children:
            yield from _blocks(f'{name}.{child}', inside)
    else:
        yield name, module


def _repeats(children: list[tuple[str, nn.Module]]) -> bool:
    return len({type(child) for _, child in children}) == 1 and all(
        next(child.children(), None) is not None for _, child in children
    )
