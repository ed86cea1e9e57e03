"""What a run that can be resumed needs and a config need not say."""

from __future__ import annotations

from mmengine.config import Config

from .expand import like

__all__ = ['OWN_HOOKS', 'with_essentials']

OWN_HOOKS = dict(
    checkpoint='SafeCheckpointHook',
    sync_buffers='SyncBuffersHook',
    dataset_epoch='DatasetEpochHook',
    epoch_seed='EpochSeedHook',
    finite='FiniteHook',
)
"""Hooks of every run, by their names in ``default_hooks``."""


def with_essentials(cfg: Config) -> Config:
    """A copy with what a run that can be resumed needs: safe checkpoints, epochs that know their number, a
    loop that can be cut.

    mmengine's own types of these are replaced; any other type stays.
    """
    cfg = like(cfg, cfg.to_dict())
    hooks = dict(cfg.get('default_hooks') or {})
    for name, kind in OWN_HOOKS.items():
        hook = dict(hooks.get(name) or {})
        hooks[name] = hook | dict(type=kind) if hook.get('type') in (None, 'CheckpointHook') else hook
    cfg.default_hooks = hooks
    if cfg.get('default_scope') is None:
        cfg.default_scope = 'gfvideo'
    loop = dict(cfg.get('train_cfg') or {})
    if loop and loop.pop('by_epoch', True) and loop.get('type') in (None, 'EpochBasedTrainLoop'):
        cfg.train_cfg = loop | dict(type='ResumableEpochLoop')
    return cfg
