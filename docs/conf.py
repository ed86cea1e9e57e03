"""Settings of the site: ``make docs``."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from gfvideo import __version__ as release  # noqa: E402

project, author = 'gfvideo', 'The gfvideo developers'
copyright = 'the gfvideo developers; Apache-2.0'
version = release
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
html_theme, html_title = 'furo', f'gfvideo {release}'
html_extra_path = ['ten_minutes.ipynb']
exclude_patterns = ['build']

myst_enable_extensions = ['colon_fence']
myst_heading_anchors = 4
autodoc_member_order = 'groupwise'
autodoc_default_options = {'members': True, 'show-inheritance': True}
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_rtype, napoleon_use_ivar = False, True
# some names are listed by a room and by the module inside that defines them
suppress_warnings = ['ref.python']

LINK = re.compile(r'\[([^\]\n]*(?:\n[^\]\n]*)?)\]\(([^)#\s:]+)(#[^)\s]*)?\)')
CODE = re.compile(r'^```.*?^```', re.DOTALL | re.MULTILINE)


def adapt_page(app, docname: str, source: list[str]) -> None:
    """What a page says on the site: files outside of docs/ are not there, so links to them become their
    paths; the order of index.md's tables is that of the contents."""
    folder = (HERE / docname).parent

    def outside(match: re.Match) -> str:
        words, target = match[1], (folder / match[2]).resolve()
        if target.is_relative_to(HERE) and target.suffix in ('.md', '.webp'):
            return match[0]
        path = os.path.relpath(target, HERE.parent)
        return f'{{download}}`{words} <{match[2]}>`' if target.is_relative_to(HERE) else f'{words} (`{path}`)'

    code = CODE.findall(source[0])
    prose = [LINK.sub(outside, text) for text in CODE.split(source[0])]
    text = ''.join(part for pair in zip(prose, [*code, '']) for part in pair)
    source[0] = text + contents(text) if docname == 'index' else text


def contents(index: str) -> str:
    """A table of contents a heading, of the pages that index.md links to under it."""
    trees = ''
    for part in re.split(r'^## ', index, flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition('\n')
        targets = [target for _, target, _ in LINK.findall(text) if target.endswith('.md')]
        pages = list(dict.fromkeys(target.removesuffix('.md') for target in targets))
        if pages:
            lines = '\n'.join(pages)
            trees += f'\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{lines}\n```\n'
    return trees


def setup(app) -> None:
    app.connect('source-read', adapt_page)
