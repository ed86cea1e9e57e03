"""A recognizer in a folder and on a hub: save, load, download, upload."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..apis import init_recognizer
from ..engine.checkpoint import CheckpointError
from ..engine.config import ConfigError
from ..engine.hub_folder import CONFIG, WEIGHTS, is_hub_folder, write_hub_folder
from ..engine.identity import check_exits, describe_model
from ..exits import Calibration, read_exits, write_exits
from ..models.base import Recognizer
from ..registry import HUB
from ..weights import first_line
from .card import read_results, write_card

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ['fetch_pretrained', 'from_pretrained', 'push_to_hub', 'save_pretrained']

EXITS, CARD = 'exits.json', 'README.md'
REPO_ID = re.compile(r'[\w.-]+/[\w.-]+')


@HUB.register_module()
def save_pretrained(
    model: Recognizer,
    folder: str | PathLike[str],
    *,
    exits: str | PathLike[str] | Calibration | None = None,
    results: Sequence[str | PathLike[str]] = (),
    name: str | None = None,
    license: str | None = None,
) -> Path:
    """Write a recognizer to a folder: ``config.json``, ``model.safetensors``, ``exits.json`` if it has any,
    and a card, ``README.md``.

    The weights are the same to the bit, so exits that were fitted for the checkpoint belong to the folder,
    too. The card holds what files say and no more: the settings of the network, the tables of ``results``
    with the dataset's hash and the command of each, the settings of the exits, and what the network learned
    from.

    Args:
        model: of :func:`~gfvideo.apis.init_recognizer`, with the config it was built from.
        folder: made if it is not there; files of these names are replaced. An ``exits.json`` that lies there
            is taken if ``exits`` is None.
        exits: a file of ``tools/calibrate.py``, or what was read from it; it must belong to these weights.
        results: files ``test_results.json`` of ``tools/test.py`` on these weights.
        name: what the card calls the model; None takes the folder's name.
        license: for the card, e.g. 'apache-2.0'; of the weights, which only you know. None says nothing.

    Returns:
        The folder.

    Raises:
        ImportError: if the package safetensors is not installed.
        ConfigError: if the model has no config, or one that JSON cannot hold.
        ExitsFileError: if the exits belong to another model.
        CardError: if results are not of these weights, or no file of results.
    """
    folder, model = Path(folder).expanduser(), model.by_torch()
    if not model.cfg.get('model'):
        raise ConfigError(
            'the model has no config, so nothing could build it from a folder; make it with init_recognizer'
            ' or create_model, or set model.cfg'
        )
    if exits is None and (folder / EXITS).is_file():
        exits = folder / EXITS
    calibration: Calibration | None
    if isinstance(exits, str | PathLike):
        calibration, source = read_exits(Path(exits)), fspath(exits)
    else:
        calibration, source = exits, 'the calibration'
    if calibration is not None:
        check_exits(calibration, model, source)
    described = describe_model(model)
    told = [read_results(path, described['weights']) for path in results]
    meta = dict(dataset_meta=model.dataset_meta, **model.provenance)
    write_hub_folder(folder, model.state_dict(), model.cfg.to_dict(), meta)
    if calibration is not None:
        write_exits(folder / EXITS, calibration)
    write_card(
        folder / CARD,
        name or folder.resolve().name,
        described,
        provenance=model.provenance,
        results=told,
        calibration=calibration,
        license=license,
    )
    return folder


def from_pretrained(
    source: str | PathLike[str],
    *,
    revision: str | None = None,
    api: HfApi | None = None,
    **options: Any,
) -> Recognizer:
    """The recognizer of a folder of :func:`save_pretrained`, or of a hub.

    Nothing of the folder is run: the config is data that names registered parts, and weights are tensors.

    Args:
        source: the folder; or ``owner/name`` on the hub, where no folder has that name.
        revision: of the hub: a branch, tag or commit; None takes the newest.
        api: what downloads; None takes ``huggingface_hub.HfApi()``.
        options: those of :func:`~gfvideo.apis.init_recognizer`: device, cfg_options, custom_imports, runtime.

    Returns:
        The recognizer in eval mode.

    Raises:
        FileNotFoundError: if there is no such folder and it is no ``owner/name``.
        CheckpointError: if the folder lacks a part or is damaged, or the hub does not give it.
        ConfigError: if a setting is unknown, or the config names a part that is not registered.
        ImportError: if safetensors, or for the hub huggingface_hub, is not installed.
    """
    return init_recognizer(None, fetch_pretrained(source, revision=revision, api=api), **options)


def fetch_pretrained(
    source: str | PathLike[str], *, revision: str | None = None, api: HfApi | None = None
) -> Path:
    """The folder of a recognizer on this machine: itself, or that of a hub, downloaded to the hub's cache.

    ``exits.json`` lies in it where the recognizer has exits. Arguments and errors as of
    :func:`from_pretrained`.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        if not REPO_ID.fullmatch(fspath(source)):
            raise FileNotFoundError(
                f'no folder at {source}, and it is no owner/name of a hub; save one with'
                ' model.save_pretrained(FOLDER)'
            )
        folder = _downloaded(fspath(source), revision, api)
    if not is_hub_folder(folder):
        raise CheckpointError(
            f'{folder} does not hold both {CONFIG} and {WEIGHTS}; give a folder of save_pretrained (of a run,'
            ' init_recognizer takes the work dir)'
        )
    return folder


def _downloaded(repo_id: str, revision: str | None, api: HfApi | None) -> Path:
    api = api or _hub_api()
    try:
        return Path(
            api.snapshot_download(repo_id, revision=revision, allow_patterns=[CONFIG, WEIGHTS, EXITS, CARD])
        )
    except (OSError, ValueError, RuntimeError) as error:  # the hub's errors are of these kinds
        raise CheckpointError(
            f'there is no folder {repo_id} here, and the hub does not give {repo_id}'
            f'{f" at {revision}" if revision else ""} ({type(error).__name__}: {first_line(error)})'
        ) from error


@HUB.register_module()
def push_to_hub(
    model: Recognizer,
    repo_id: str,
    *,
    private: bool | None = None,
    message: str = 'Upload a gfvideo recognizer',
    api: HfApi | None = None,
    **options: Any,
) -> str:
    """Upload a recognizer to a hub, as :func:`save_pretrained` writes it.

    Args:
        model: see :func:`save_pretrained`.
        repo_id: ``owner/name``; made if it is not there.
        private: whether a new repository is; None leaves it to the hub.
        message: of the commit.
        api: what uploads, logged in; None takes ``huggingface_hub.HfApi()``, which uses the token of
            ``hf auth login``.
        options: those of :func:`save_pretrained`.

    Returns:
        The address of the commit.

    Raises:
        ValueError: if ``repo_id`` is no ``owner/name``.
        ImportError, ConfigError, ExitsFileError, CardError: as of :func:`save_pretrained`; nothing is
            uploaded then.
    """
    if not REPO_ID.fullmatch(repo_id):
        raise ValueError(f'repo_id={repo_id!r} must be owner/name')
    api = api or _hub_api()
    with tempfile.TemporaryDirectory() as made:
        save_pretrained(model, made, **{'name': repo_id.split('/')[1], **options})
        api.create_repo(repo_id, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repo_id, folder_path=made, commit_message=message))


def _hub_api() -> HfApi:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ImportError(
            'huggingface_hub, which talks to the hub, is not installed: pip install "gfvideo[hub]"'
        ) from error
    return HfApi(library_name='gfvideo')
