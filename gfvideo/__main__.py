"""``python -m gfvideo COMMAND``: the commands of :mod:`gfvideo.cli`."""

from .cli import main

main()
