"""A config file as it is read, and the keys at its top."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from mmengine.config import Config
from mmengine.logging import MMLogger

from ...home import model_config
from .known import KNOWN_KEYS, ConfigError, explain_unknown
from .staged import check_new_stages, check_order, deletions, keep_deletions

__all__ = ['check_keys', 'load_config']


def load_config(file: str | Path) -> Config:
    """Read a config file, or the config of a name (:func:`~gfvideo.home.list_models`); refuse top-level keys
    that nothing reads (:func:`check_keys`) and misspelt names of stages that it inherits.

    Raises:
        FileNotFoundError: if there is neither such a file nor a config of that name.
        ConfigError: naming the key and what was probably meant.
    """
    if not Path(file).is_file():
        file = model_config(str(file))
    with _variables_told_once():
        return _load(file)


def _load(file: str | Path) -> Config:
    try:
        cfg = Config.fromfile(file)
    except TypeError as error:  # mmengine's, of a dict that is to be merged into a list
        if not str(error).startswith('stages='):
            raise
        raise ConfigError(
            f'{file}: stages is a dict here and a list in the file that it inherits, none of which can be'
            ' changed by name. Write it there as a dict, stages = dict(random=dict(...), ...), which means'
            ' the same and goes on with the same runs; or give the whole list here'
        ) from error
    check_keys(cfg)
    check_order(cfg.to_dict(), str(file))
    if Path(file).suffix == '.py' and cfg.get('stages'):
        _inherit_stages(cfg, Path(file))
    return cfg


class _Once(logging.Filter):
    """Lines that tell of a variable of the environment pass once in a process."""

    told: ClassVar[set[str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if not text.startswith('Using env variable'):
            return True
        new = text not in self.told
        self.told.add(text)
        return new


@contextmanager
def _variables_told_once() -> Iterator[None]:
    """A config is read several times, with the files that it inherits; its variables are told each time."""
    logger, once = MMLogger.get_current_instance(), _Once()
    logger.addFilter(once)
    try:
        yield
    finally:
        logger.removeFilter(once)


def _inherit_stages(cfg: Config, file: Path) -> None:
    """What merging does not see to where a file changes stages that it inherits."""
    for one in (file, *_chain(file)):
        bases = _inherited_files(_nodes(one), one)
        check_new_stages(cfg if one == file else Config.fromfile(one), one, bases)
    keep_deletions(cfg, _deletions(file))


def _chain(file: Path) -> Iterator[Path]:
    """All files that a file inherits, nearest first."""
    for base in _inherited_files(_nodes(file), file):
        yield base
        yield from _chain(base)


def _deletions(file: Path) -> set[tuple[str, ...]]:
    of_bases = {path for base in _inherited_files(_nodes(file), file) for path in _deletions(base)}
    return deletions(_tree(file), of_bases)


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding='utf-8'))


def _nodes(file: Path) -> list[ast.AST]:
    return list(ast.walk(_tree(file)))


def check_keys(cfg: Config) -> None:
    """Refuse top-level keys that nothing reads.

    Config files may name helpers (``train_pipeline = [...]``) that other lines of the file, or of a file that
    inherits it, read; those pass, and so do names that start with an underscore. A helper that is set and not
    read is refused: in a child config it is the common mistake of redefining ``train_pipeline``, which does
    not change ``train_dataloader.dataset.pipeline``.

    Raises:
        ConfigError: naming the key, the file and what was probably meant.
    """
    strange = [key for key in cfg if key not in KNOWN_KEYS and not key.startswith('_')]
    if not strange:
        return
    file = Path(cfg.filename) if cfg.filename else None
    if file is None or file.suffix != '.py' or not file.is_file():
        raise ConfigError(explain_unknown(strange[0], str(file or 'the config')))
    unread = dict(_unread_names(file, set()))
    for key in strange:
        if key in unread:
            raise ConfigError(
                explain_unknown(key, str(unread[key]))
                + '. Nothing reads it: set the key that should change (redefining '
                'a helper of an inherited file changes nothing), or start its name with an underscore'
            )


def _unread_names(file: Path, read_below: set[str]) -> Iterator[tuple[str, Path]]:
    """Names that a config file, or one it inherits, sets and neither it nor a file that inherits it reads;
    nearest file last."""
    nodes = _nodes(file)
    names = [node for node in nodes if isinstance(node, ast.Name)]
    read = (
        read_below
        | {name.id for name in names if isinstance(name.ctx, ast.Load)}
        | {
            node.attr
            for node in nodes
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == '_base_'
        }
    )
    for base in _inherited_files(nodes, file):
        yield from _unread_names(base, read)
    yield from ((name.id, file) for name in names if isinstance(name.ctx, ast.Store) and name.id not in read)


def _inherited_files(nodes: list[ast.AST], file: Path) -> list[Path]:
    """Files of ``_base_ = [...]`` and of ``with read_base(): from .x import *``."""
    found = []
    for node in nodes:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == '_base_' for target in node.targets
        ):
            bases = ast.literal_eval(node.value)
            found += [file.parent / base for base in ([bases] if isinstance(bases, str) else bases)]
        if isinstance(node, ast.ImportFrom) and node.level and node.module:
            found.append(file.parents[node.level - 1] / (node.module.replace('.', '/') + '.py'))
    return [base for base in found if base.suffix == '.py' and base.is_file()]
