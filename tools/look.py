#!/usr/bin/env python
"""A film of what a network looks at in your own video; see gfvideo/look.py and docs/look.md.

python tools/look.py VIDEO --checkpoint work_dirs/RUN --out film.mp4
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout that is not installed works too
    from gfvideo.look import main

    main()
