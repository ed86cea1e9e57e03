"""Files that appear whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from ..files import write_atomically

__all__ = ['write']


def write(content: dict[str, Any], output: Path) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(output, buffer.getvalue())
