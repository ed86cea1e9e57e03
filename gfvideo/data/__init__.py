"""Reading, sampling and preparing clips."""
from . import dataset, manifest, preprocessor, readers, sampling, transforms

__all__ = ['dataset', 'manifest', 'preprocessor', 'readers', 'sampling', 'transforms']
