"""The preparation's own code on its way to the scheduler and the workers of a Dask cluster, which are started
by their command lines wherever they like and know the installed package alone."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gfvideo

__all__ = ['pack', 'send_code']

CODE = Path(__file__).resolve().parents[1]
VERSION = "__import__('gfvideo').__version__"
# whether this process has none of the code, or another version of it that was sent before
LACKS = (
    "(lambda spec: spec is None or '.zip' in str(spec.origin) and {name!r} not in str(spec.origin))"
    "(__import__('importlib.util').util.find_spec('data_prep'))"
)
FORGET = "len([__import__('sys').modules.pop(name) for name in list(__import__('sys').modules) if"
FORGET += " name.split('.')[0] == 'data_prep'])"


def pack(folder: Path) -> Path:
    """Write a zip of the code into ``folder``, named by its content, from which it can be imported."""
    files = {file.relative_to(CODE.parent).as_posix(): file for file in sorted(CODE.rglob('*.py'))}
    sources = {name: file.read_bytes() for name, file in files.items()}
    folders = {str(parent) for name in files for parent in list(Path(name).parents)[:-1]}
    sources |= {f'{name}/__init__.py': b'' for name in folders if f'{name}/__init__.py' not in sources}
    digest = hashlib.sha256(repr(sorted(sources.items())).encode()).hexdigest()
    target = folder / f'gfvideo-{digest[:12]}.zip'
    with zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(sources.items()):
            archive.writestr(name, data)
    return target


def send_code(client: Any) -> str:
    """See to it that scheduler and workers, those that join later included, can run the preparation.

    Args:
        client: of ``distributed``.

    Returns:
        what is wrong with the cluster, and the remedy; '' if nothing is.
    """
    from distributed.diagnostics.plugin import SchedulerUploadFile, UploadFile

    try:
        versions = {'the scheduler': client.run_on_scheduler(eval, VERSION), **client.run(eval, VERSION)}
    except ModuleNotFoundError as error:
        return f'scheduler or workers lack a package ({error}); install gfvideo where they run'
    other = {name: version for name, version in versions.items() if version != gfvideo.__version__}
    for name, version in other.items():
        return f'{name} has gfvideo {version}, this is {gfvideo.__version__}; install the same version there'
    with TemporaryDirectory() as folder:
        package = pack(Path(folder))
        lacks = LACKS.format(name=package.name)
        if client.run_on_scheduler(eval, lacks):
            client.run_on_scheduler(eval, FORGET)
            plugin = SchedulerUploadFile(str(package))
            client.register_plugin(plugin, name=f'scheduler {package.name}')
        workers = client.run(eval, lacks)
        if not workers or any(workers.values()):  # a plugin is for workers that join later, too
            client.run(eval, FORGET)
            client.register_plugin(UploadFile(str(package)), name=package.name)
    return ''
