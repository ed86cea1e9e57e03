"""Glance-and-Focus networks for video recognition, on Temporal Shift Modules."""

__version__ = '0.1.0'
