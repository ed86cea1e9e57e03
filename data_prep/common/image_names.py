"""Names of numbered images: 'img_00001.jpg' is number 1 of the template 'img_{:05d}.jpg'."""

from __future__ import annotations

import re
from string import Formatter

__all__ = ['printf_of', 'template_of']


def template_of(name: str) -> str:
    """'img_00001.jpg' -> 'img_{:05d}.jpg', for ``str.format``."""
    head, digits, tail = re.fullmatch(r'(.*?)(\d+)(\.\w+)', name, re.DOTALL).groups()
    brace = str.maketrans({'{': '{{', '}': '}}'})
    width = f':0{len(digits)}d' if digits[0] == '0' or len(digits) > 1 else ':d'
    return f'{head.translate(brace)}{{{width}}}{tail}'


def printf_of(template: str) -> str:
    """'img_{:05d}.jpg' -> 'img_%05d.jpg', for ffmpeg."""
    return ''.join(
        text.replace('%', '%%') + ('' if form is None else f'%{form}')
        for text, _, form, _ in Formatter().parse(template)
    )
