"""Checkpoints that plain ``torch.load(weights_only=True)`` opens, that appear whole or not at all, and that a
run can go on from.

mmengine pickles history buffers and numpy values into its files, which torch >= 2.6 refuses to load. Here
they become tensors and plain values on the way out and history buffers again on the way in.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer, print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader
from torch import Tensor

from ..files import write_atomically, written_whole
from ..registry import HOOKS
from ..weights import (
    DamagedFile,
    UnreachableFile,
    UnsafeFile,
    WeightsFileError,
    are_weights,
    is_address,
    listed,
    misfit,
    not_finite,
    read_weights_file,
    unwrapped,
)
from .config import ConfigError
from .hub_folder import CONFIG, WEIGHTS, is_hub_folder, read_hub_meta
from .identity import weights_hash
from .random_state import random_state

__all__ = [
    'PROVENANCE',
    'CheckpointError',
    'SafeCheckpointHook',
    'checkpoint_of',
    'keep_last_and_best',
    'latest_checkpoint',
    'load_checkpoint',
    'load_weights',
    'plain',
]

_BUFFER = 'history_buffer'
WEIGHTS_HASH = 'weights_hash'
PROVENANCE = ('converted', 'datasets', 'stage', 'seed', 'epoch', 'iter', 'mmengine_version')
"""What the meta of a checkpoint tells of where its weights come from."""


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used; the message names the file, the reason and the remedy."""


# ------------------------------------------------------------------------------------------------------ write


@register_backend('atomic_local', force=True)
class AtomicLocalBackend(LocalBackend):
    """The local disk, where a file that was put is whole."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_atomically(filepath, obj)


def plain(value: Any, place: str = 'checkpoint') -> Any:
    """``value`` of tensors, numbers, text, None and containers of them only; numpy arrays become tensors.

    What has no such form (a function, a foreign object) is left out of its dict with a warning that names
    ``place``.

    Raises:
        TypeError: if ``value`` itself has no such form.
    """
    if value is None or isinstance(value, Tensor) or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biufc':
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), place)
    if isinstance(value, HistoryBuffer):
        values, counts = value.data
        return {
            _BUFFER: dict(
                values=torch.from_numpy(np.array(values, dtype=np.float64)),
                counts=torch.from_numpy(np.array(counts, dtype=np.float64)),
                max_length=int(value.max_length),
            )
        }
    if isinstance(value, Mapping):
        return _plain_dict(value, place)
    if isinstance(value, tuple):
        return tuple(plain(item, place) for item in value)
    if isinstance(value, (list, set, frozenset)):
        return [plain(item, place) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (str, int, float)):  # subclasses, e.g. of enumerations
        return next(kind(value) for kind in (str, int, float) if isinstance(value, kind))
    raise TypeError(f'{type(value).__name__} has no plain form')


def _plain_dict(mapping: Mapping, place: str) -> dict:
    result: dict = OrderedDict() if isinstance(mapping, OrderedDict) else {}
    for key, value in mapping.items():
        try:
            result[plain(key)] = plain(value, f'{place}.{key}')
        except TypeError as error:
            print_log(f'{place}.{key} is left out of the checkpoint: {error}', logger='current', level=30)
    return result


def _restore_buffers(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {_BUFFER}:
        saved = value[_BUFFER]
        return HistoryBuffer(
            saved['values'].cpu().numpy(), saved['counts'].cpu().numpy(), saved['max_length']
        )
    if isinstance(value, dict):
        return type(value)((key, _restore_buffers(item)) for key, item in value.items())
    return value


# ------------------------------------------------------------------------------------------------------- read


def load_checkpoint(source: str | Path, map_location: str | torch.device | None = 'cpu') -> dict[str, Any]:
    """Read a checkpoint without running anything that may hide in it (``weights_only=True``).

    Args:
        source: a file or an http(s) address, or a folder, see :func:`checkpoint_of`; a bare state dict is
            accepted too. Of a ``.safetensors`` file, the ``config.json`` of
            :func:`~gfvideo.hub.save_pretrained` beside it gives the meta.
        map_location: see :func:`torch.load`.

    Returns:
        A dict with at least ``state_dict`` and ``meta``.

    Raises:
        FileNotFoundError: if there is no such file; the message lists the checkpoints beside it.
        CheckpointError: if it is damaged (a part does not fit its checksum, or the weights their stored
            hash), holds more than tensors and plain values, or no weights; the message names the newest whole
            checkpoint beside it.
    """
    if not is_address(source) and Path(source).expanduser().is_dir():
        source = checkpoint_of(source)
    content = _read(source, map_location)
    if not isinstance(content, dict):
        raise CheckpointError(
            f'{source} holds a {type(content).__name__}, not a dict with weights; is it a checkpoint?'
        )
    if 'state_dict' not in content:
        if not are_weights(content):
            raise CheckpointError(
                f'{source} has no state_dict, only {sorted(map(str, content))[:8]}; is it a checkpoint?'
            )
        content = dict(state_dict=content)
    if str(source).endswith('.safetensors') and not is_address(source):
        try:
            content['meta'] = read_hub_meta(Path(source).expanduser().with_name(CONFIG)) or {}
        except ConfigError as error:
            raise CheckpointError(f'{source}: {error}') from error
    weights = content['state_dict']
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f'{source} has a state_dict that is no dict of tensors; is it a checkpoint?')
    meta = content.setdefault('meta', {})
    if not isinstance(meta, dict):
        raise CheckpointError(
            f'{source} has a meta that is a {type(meta).__name__}, not a dict; is it a checkpoint?'
        )
    meta.pop('config', None)  # the Runner would run that text when it resumes
    if (stored := meta.get(WEIGHTS_HASH)) is not None and stored != weights_hash(weights):
        raise CheckpointError(
            f'{source} is damaged or was edited: its weights are not those it was saved with (their SHA-256'
            f' is not meta.{WEIGHTS_HASH}); download or save it again{_whole_beside(source)}'
        )
    return content


def _read(source: str | Path, map_location: str | torch.device | None) -> Any:
    """What is in a file or at an address."""
    if not is_address(source):
        _existing(source)
    try:
        return read_weights_file(source, map_location)
    except UnsafeFile as error:
        raise CheckpointError(
            f'{source} cannot be loaded safely: it holds more than tensors and plain values, or is no'
            f' checkpoint ({error}). If you trust where it comes from, load it once with torch.load(...,'
            ' weights_only=False) and save its state_dict alone'
        ) from error
    except DamagedFile as error:
        raise CheckpointError(
            f'{source} is damaged or no checkpoint ({error}); download or save it again'
            f'{_whole_beside(source)}'
        ) from error
    except (UnreachableFile, ImportError) as error:
        raise CheckpointError(f'{error}' if str(source) in str(error) else f'{source}: {error}') from error


def _whole_beside(source: str | Path) -> str:
    """Where a run whose checkpoint is damaged can go on: the newest whole one beside it, in words, or ''."""
    path = Path(source).expanduser()
    if not path.is_file():  # an address
        return ''
    others = sorted(
        (file for file in path.parent.glob('*.pth') if file != path),
        key=lambda file: -file.stat().st_mtime_ns,
    )
    for file in others:
        try:
            content = read_weights_file(file)
        except (WeightsFileError, OSError):
            continue
        if isinstance(content, dict) and 'optimizer' in content:
            return f', or go on from the one before it, which is whole: --resume {file}'
    return ''


def _existing(source: str | Path) -> Path:
    path = Path(source).expanduser()
    if not path.is_file():
        beside = sorted(file.name for file in path.parent.glob('*.pth')) if path.parent.is_dir() else []
        raise FileNotFoundError(
            f'no checkpoint at {path}; '
            + (f'{path.parent} holds {", ".join(beside)}' if beside else f'{path.parent} holds no .pth file')
        )
    return path


# mmengine's Runner.resume and load_from come through here as well
@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    return load_checkpoint(filename, map_location)


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_http(filename: str, map_location: Any = None, **_: Any) -> dict[str, Any]:
    return load_checkpoint(filename, map_location)


def load_weights(model: torch.nn.Module, checkpoint: dict[str, Any], source: str | Path) -> None:
    """Put the weights of :func:`load_checkpoint`'s answer into ``model``; every key must fit.

    Raises:
        CheckpointError: naming the keys that are missing, superfluous, of another shape, or not finite.
    """
    inner = model.module if is_model_wrapper(model) else model
    assert isinstance(inner, torch.nn.Module)
    check_weights(inner, checkpoint['state_dict'], str(source))
    inner.load_state_dict(unwrapped(checkpoint['state_dict']))


def check_weights(model: torch.nn.Module, state_dict: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that ``model`` could not take whole.

    Raises:
        CheckpointError: naming the keys that are missing, superfluous, of another shape, or not finite.
    """
    weights = upgraded(model, unwrapped(state_dict))
    if found := misfit(model.state_dict(), weights):
        raise CheckpointError(
            f'{source} does not fit the model of the config: {found.told()}. Use the config it was trained'
            ' with'
        )
    check_finite(weights, source)


def upgraded(model: torch.nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as the modules of ``model`` name them now: a module that once had others turns them into its
    own in a method ``upgrade_weights(weights, prefix)``, which it also asks when it loads."""
    found = dict(weights)
    for name, module in model.named_modules():
        if hasattr(module, 'upgrade_weights'):
            module.upgrade_weights(found, f'{name}.' if name else '')
    return found


def check_finite(state_dict: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that are nan or infinite.

    Raises:
        CheckpointError: naming them.
    """
    if bad := not_finite(state_dict):
        raise CheckpointError(
            f'{source} holds weights that are nan or infinite: {listed(bad, "of them")}; its run went wrong '
            'before it was saved, use an earlier checkpoint'
        )


def latest_checkpoint(folder: str | Path) -> Path | None:
    """The checkpoint that ``last_checkpoint`` in ``folder`` names, None if no run has saved one there.

    Raises:
        CheckpointError: if the named file is gone.
    """
    pointer = Path(folder) / 'last_checkpoint'
    if not pointer.is_file():
        return None
    named = pointer.read_text().strip()
    if not named:  # cut off while the pointer was written; the files themselves are whole
        return max(Path(folder).glob('*_[0-9]*.pth'), key=lambda file: file.stat().st_mtime_ns, default=None)
    for path in (Path(named), Path(folder) / Path(named).name):  # the second: the folder was moved
        if path.is_file():
            return path
    raise CheckpointError(
        f'{pointer} names {named}, which is gone; name another with --resume PATH, or start anew without'
        ' --resume'
    )


def keep_last_and_best(folder: str | Path, last: str | Path, best: str | Path | None = None) -> None:
    """Leave two checkpoints in ``folder`` under names that every run has: ``last.pth`` and ``best.pth``.

    They are hard links where the disk has them, else copies, and take the place of older ones at once.

    Args:
        folder: of a stage or of a run.
        last: the last checkpoint.
        best: the one that validation found best; None, where none was, for the last.
    """
    for name, file in (('last.pth', last), ('best.pth', last if best is None else best)):
        with written_whole(Path(folder) / name) as part:
            try:
                os.link(file, part)
            except OSError:  # a disk without links, or another disk
                shutil.copy2(file, part)  # with its time, by which the newest is found


def checkpoint_of(path: str | PathLike[str], which: str = 'last') -> str:
    """The checkpoint that a path stands for: a file or an address itself; of a run's folder, that of its last
    stage that saved one; of a folder of :func:`~gfvideo.hub.save_pretrained`, its weights.

    Args:
        path: a file, an http(s) address, the work dir of ``tools/train.py``, the folder of one stage, or a
            folder of ``save_pretrained``.
        which: 'last' or, for the one that validation found best, 'best'; where a stage kept no best one, its
            last.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        CheckpointError: if the folder holds no checkpoint of a run.
    """
    if which not in ('last', 'best'):
        raise ValueError(f"which={which!r} is unknown; choose 'last' or 'best'")
    folder = Path(path).expanduser()
    if is_address(path) or not folder.is_dir():
        return str(path) if is_address(path) else str(_existing(folder))
    if is_hub_folder(folder):
        return str(folder / WEIGHTS)
    inner = [child for child in folder.iterdir() if child.is_dir()]
    found = {one: file for one in (folder, *inner) if (file := _checkpoint_in(one, which))}
    if not found:
        raise CheckpointError(
            f'{folder} holds no checkpoint of a run (last_checkpoint or a .pth file, also in the folders of'
            f' its stages) and not {CONFIG} with {WEIGHTS}; give the work dir of tools/train.py, a folder of'
            ' save_pretrained, or a .pth file'
        )
    return str(found[max(found, key=_when)])


def _when(folder: Path) -> tuple[str, int]:
    """When a run last began in ``folder``, of which a copy keeps the name of the log's folder; then, when it
    last saved."""
    began = (child.name for child in folder.iterdir() if re.fullmatch(r'\d{8}_\d{6}', child.name))
    saved = (file.stat().st_mtime_ns for file in folder.glob('*.pth'))
    return max(began, default=''), max(saved, default=0)


def _checkpoint_in(folder: Path, which: str) -> Path | None:
    best = _newest(folder.glob('best_*.pth')) if which == 'best' else None
    return best or latest_checkpoint(folder) or _newest(folder.glob('*.pth'))


def _newest(files: Iterable[Path]) -> Path | None:
    return max(files, key=lambda file: file.stat().st_mtime_ns, default=None)


# ------------------------------------------------------------------------------------------------------- hook


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, whose files load with plain ``torch.load(weights_only=True)`` and are never
    half written.

    Beside what mmengine saves, a file tells the stage, the datasets (name, manifest hash, present and
    official counts) and the states of all ranks' random generators, so that a run cut off in the middle of an
    epoch goes on as if it never was.

    Args:
        kwargs: those of :class:`mmengine.hooks.CheckpointHook`.

    Raises:
        TypeError: on any other.
    """

    backend_args: dict | None

    def __init__(self, **kwargs: Any):
        unknown = set(kwargs) - set(inspect.signature(CheckpointHook.__init__).parameters)
        if unknown:
            raise TypeError(f'CheckpointHook takes no {", ".join(sorted(unknown))}')
        super().__init__(**kwargs)
        if self.backend_args is None and self.file_client_args is None:
            self.backend_args = dict(backend='atomic_local')

    def before_train(self, runner: Any) -> None:
        """Say which data the run learns from and is judged on, as the checkpoints will."""
        super().before_train(runner)
        for loader, dataset in _datasets(runner).items():
            runner.logger.info(f'{loader}: {described(dataset)}')

    def _save_checkpoint(self, runner: Any) -> None:
        # here every rank passes; the writing itself is the first one's alone
        runner.message_hub.update_info('random_states', all_gather_object(random_state()))
        super()._save_checkpoint(runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Turn everything but tensors into plain values."""
        checkpoint['meta'].update(
            {
                'stage': runner.cfg.get('stage'),
                'datasets': _datasets(runner),
                WEIGHTS_HASH: weights_hash(checkpoint['state_dict']),
            }
        )
        for key in checkpoint:
            if key != 'state_dict':
                checkpoint[key] = plain(checkpoint[key], key)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Turn them back, and refuse weights of which none belongs to the model or, to go on with a run, any
        is missing."""
        if 'message_hub' in checkpoint:
            checkpoint['message_hub'] = _restore_buffers(checkpoint['message_hub'])
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not set(model.state_dict()) & set(unwrapped(checkpoint['state_dict'])):
            raise CheckpointError(
                f'no weight of the checkpoint belongs to {type(model).__name__}: it has e.g. '
                f'{list(checkpoint["state_dict"])[:3]}, the model {list(model.state_dict())[:3]}; '
                'is load_from the right file?'
            )
        source = str(runner.cfg.get('load_from') or 'the checkpoint')
        if runner.cfg.get('resume'):  # mmengine would go on with the random numbers it drew
            check_weights(model, checkpoint['state_dict'], source)
        check_finite(checkpoint['state_dict'], source)


def described(dataset: dict) -> str:
    """A dataset's ``metainfo`` in words: name, split, clips that are present of those that the annotation
    lists, hashes of content and making (that of the manifest where no other is told)."""
    listed = f' of {dataset["official"]} listed' if dataset.get('official') is not None else ''
    return (
        f'{dataset.get("name")} ({dataset.get("version")}), split {dataset.get("split")!r}:'
        f' {dataset.get("present")}{listed} clips, {_hashes(dataset)}'
    )


def _hashes(dataset: dict) -> str:
    if not dataset.get('content_hash'):
        return f'hash {dataset.get("manifest_hash")}'
    made = f', made {dataset["made_hash"]}' if dataset.get('made_hash') else ''
    return f'content {dataset["content_hash"]}' + made


def _datasets(runner: Any) -> dict[str, dict]:
    loaders = dict(
        train=runner.train_dataloader, val=None if runner.val_loop is None else runner.val_dataloader
    )
    metas = {
        name: getattr(loader.dataset, 'metainfo', None)
        for name, loader in loaders.items()
        if loader is not None
    }
    return {
        name: {key: value for key, value in meta.items() if key != 'classes'}
        for name, meta in metas.items()
        if meta
    }
