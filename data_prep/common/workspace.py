"""The folder that is prepared: where things lie in it, and which of the clips a run does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

__all__ = ['PreparationError', 'Workspace']


class PreparationError(ValueError):
    """The inputs cannot be prepared; the message names the file, the value and the remedy."""


@dataclass(frozen=True)
class Workspace:
    """A prepared folder, as one run sees it.

    Attributes:
        out: the folder.
        shard: (number, of how many): the share of the clips that this run does.
        limited: whether the run sees a part of the annotation alone, so that what others have done of the
            rest must stay.
    """

    out: Path
    shard: tuple[int, int] = (0, 1)
    limited: bool = False

    @property
    def source(self) -> Path:
        """Where archives are unpacked."""
        return self.out / 'source'

    @property
    def work(self) -> Path:
        """What the steps know."""
        return self.out / 'work'

    @property
    def temporary(self) -> Path:
        """What this run has in the making."""
        return self.work / 'tmp' / self.shard_name

    @property
    def shard_name(self) -> str:
        return 'all' if not self.is_sharded else f'{self.shard[0]}-of-{self.shard[1]}'

    @property
    def is_whole(self) -> bool:
        """Whether this run sees all clips, and may put the records of all in order."""
        return not self.is_sharded and not self.limited

    @property
    def is_sharded(self) -> bool:
        return self.shard[1] > 1

    def records(self, step: str) -> Path:
        """Folder of the records of a step, those of all shards."""
        return self.work / step

    def own_records(self, step: str) -> Path:
        """Folder that this run's records of a step go to."""
        return self.records(step) / self.shard_name if self.is_sharded else self.records(step)

    def has(self, path: str) -> bool:
        """Whether the source of this path belongs to this run's share."""
        number, count = self.shard
        return count == 1 or int.from_bytes(hashlib.sha1(path.encode()).digest()[:8]) % count == number
