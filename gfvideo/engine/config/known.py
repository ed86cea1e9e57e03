"""Keys that something reads, and the error that tells of one that nothing does."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable

from mmengine.runner import Runner

__all__ = ['KNOWN_KEYS', 'ConfigError', 'explain_unknown']

# what a Runner takes, what it reads from its config beside, what stages add, and what pipelines leave open
KNOWN_KEYS = frozenset(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | {
    'model_wrapper_cfg',
    'sync_bn',
    'find_unused_parameters',
    'compile',
    'activation_checkpointing',
    'efficient_conv_bn_eval',
    'custom_imports',
    'stages',
    'stage',
    'start_from',
    'num_frames',
    'flip',
}


class ConfigError(ValueError):
    """A config is at fault; the message names the key, its value and the remedy."""


def explain_unknown(key: str, place: str, known: Iterable[str] = KNOWN_KEYS) -> str:
    """What to tell of an unknown key, with the known one it resembles."""
    close = difflib.get_close_matches(key, known, 1, 0.75)
    return f'unknown key {key!r} in {place}' + (f'; did you mean {close[0]!r}?' if close else '')
