"""What conversion cannot do."""

__all__ = ['ConversionError']


class ConversionError(ValueError):
    """A checkpoint cannot be converted; the message names the file or its keys, the reason and the remedy."""
