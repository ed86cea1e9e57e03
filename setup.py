"""What setup.cfg cannot say: the wheel carries configs, tools and data preparation, where mim looks too."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CARRIED = ('configs', 'tools', 'data_prep')
INDEX = 'model-index.yml'


class BuildWithTools(build_py):
    """Copies the folders beside the package into ``gfvideo/.mim`` of what is built."""

    def run(self) -> None:
        super().run()
        if getattr(self, 'editable_mode', False):  # the folders are found beside the package
            return
        target = Path(self.build_lib) / 'gfvideo' / '.mim'
        shutil.rmtree(target, ignore_errors=True)
        for name in CARRIED:
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
        if (ROOT / INDEX).is_file():
            shutil.copy2(ROOT / INDEX, target / INDEX)


setup(cmdclass={'build_py': BuildWithTools})
