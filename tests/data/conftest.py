"""The readers that can be imported, one after the other."""

from __future__ import annotations

import pytest

from gfvideo.data.readers import READERS
from gfvideo.data.readers.decord import import_decord
from gfvideo.data.readers.torchcodec import import_torchcodec


@pytest.fixture(params=list(READERS))
def reader(request: pytest.FixtureRequest) -> str:
    imports = {'torchcodec': import_torchcodec, 'decord': import_decord}
    try:
        imports.get(request.param, lambda: None)()
    except ImportError as error:
        pytest.skip(str(error))
    return request.param
