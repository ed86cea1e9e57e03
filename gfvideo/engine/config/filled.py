"""What a config leaves to be filled in: the number of classes."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from ...data.manifest import read_manifest

__all__ = ['fill']


def fill(cfg: Config) -> None:
    """Complete a stage's config in place."""
    _count_classes(cfg)


def _count_classes(cfg: Config) -> None:
    """``num_classes=None`` stands for the number of classes of the prepared dataset; it stays None where that
    is not there."""
    model = cfg.get('model') or {}
    if model.get('num_classes', 0) is not None:
        return
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = (cfg.get(key) or {}).get('dataset') or {}
        if (
            dataset.get('form', 'manifest') == 'manifest'
            and (Path(dataset.get('root', '')) / 'dataset.json').is_file()
        ):
            model['num_classes'] = len(read_manifest(dataset['root']).classes)
            return
