"""Run a function on many items in worker processes, here or in a cluster, with few in flight at a time.

Everything stands behind :class:`concurrent.futures.Executor`. A worker that dies takes its pool along; the
pool is made again, and what was in flight is tried again one at a time, so that the item which kills workers
is found and the others are done.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

from data_prep.common.children import die_with_parent
from data_prep.common.interrupts import held_from_children

__all__ = ['Spread', 'StopRun', 'no_room', 'run_all']

Item, Result = TypeVar('Item'), TypeVar('Result')
TRIES = 3


class StopRun(RuntimeError):
    """Something that no other clip will fare better with: a full disk, a folder that cannot be written. The
    message says what to do."""

    def __reduce__(self) -> tuple:
        return type(self), self.args


def no_room(error: OSError) -> StopRun | None:
    """The error that ends the run, if nothing can be written any more."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
        return StopRun(
            f'{error.filename or "the folder --out"}: {error.strerror}; make room and run the same command'
            ' again: it goes on where it stopped'
        )
    return None


class _Pool(ProcessPoolExecutor):
    """It starts multiprocessing's tracker when it is made, and its workers when it is given work."""

    def __init__(self, *args: object, **kwargs: object):
        with held_from_children():
            super().__init__(*args, **kwargs)

    def submit(self, *args: object, **kwargs: object) -> Future:
        with held_from_children():
            return super().submit(*args, **kwargs)


@dataclass(frozen=True)
class Spread:
    """Where the work is done.

    Attributes:
        workers: processes on this machine.
        dask: address of a Dask scheduler, in whose workers it is done instead; they must see the same paths.
    """

    workers: int = 1
    dask: str | None = None

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        if self.dask is not None:
            yield from self._dask_executor()
            return
        pool = _Pool(
            self.workers,
            mp_context=get_context('spawn'),
            initializer=_prepare_worker,
            initargs=(os.getpid(),),
        )
        try:
            yield pool
        except BaseException:
            _end_pool(pool)
            raise
        pool.shutdown()

    def _dask_executor(self) -> Iterator[Executor]:
        try:
            from distributed import Client

            from data_prep.common.sending import send_code
        except ImportError as error:
            raise StopRun('--dask needs the package distributed: pip install "gfvideo[dask]"') from error
        try:
            client = Client(self.dask, timeout='30s')
        except (OSError, ValueError) as error:
            raise StopRun(f'--dask: no scheduler answers at {self.dask} ({error})') from error
        with client:
            wrong = send_code(client)
            if wrong:
                raise StopRun(f'--dask: {wrong}')
            with client.get_executor(pure=False, retries=0) as executor:
                yield executor

    def width(self, executor: Executor) -> int:
        """How many tasks run at a time."""
        if self.dask is None:
            return self.workers
        return max(1, sum(executor._client.nthreads().values()))


def _prepare_worker(parent: int) -> None:
    """Ctrl-C is for the parent, which ends its workers; a worker whose parent was killed ends, too.

    While the worker started, the signal was held, see :func:`held_from_children`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent)


def _end_pool(pool: ProcessPoolExecutor) -> None:
    """End workers in the middle of what they do; they leave at most temporary files, which the next run
    removes."""
    workers = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join()


def run_all(
    spread: Spread,
    function: Callable[[Sequence[Item]], Result],
    items: Iterable[Item],
    chunk: int,
    dead: Callable[[Item], Result],
) -> Iterator[Result]:
    """Results of ``function(items)`` on chunks, in the order in which they are done.

    Args:
        function: of a list of items; it and its results can be pickled. An exception of it ends the run.
        items: as many as you like; about two chunks a worker are taken from it in advance.
        chunk: items a call.
        dead: the result for an item whose worker died :data:`TRIES` times.
    """
    chunks = _chunks(iter(items), chunk)
    while True:
        suspects: list[Item] = []
        broken = yield from _until_broken(spread, function, chunks, suspects)
        yield from _one_by_one(spread, function, suspects, dead)
        if not broken:
            return


def _until_broken(
    spread: Spread,
    function: Callable[[Sequence[Item]], Result],
    chunks: Iterator[list[Item]],
    suspects: list[Item],
) -> Generator[Result, None, bool]:
    """Keep the executor busy to the end of ``chunks`` (returns False), or until it breaks (True); then
    ``suspects`` holds what was lost."""
    in_flight: dict[Future, list[Item]] = {}
    with spread.executor() as executor:
        window = 2 * spread.width(executor)
        try:
            while True:
                for part in islice(chunks, window - len(in_flight)):
                    suspects.extend(part)  # until it is known to have been taken
                    in_flight[executor.submit(function, part)] = part
                    del suspects[-len(part) :]
                if not in_flight:
                    return False
                for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                    if _was_killed(future):
                        suspects.extend(in_flight.pop(future))
                        continue
                    result = future.result()
                    del in_flight[future]
                    yield result
        except BrokenExecutor:
            suspects.extend(item for part in in_flight.values() for item in part)
            return True


def _one_by_one(
    spread: Spread,
    function: Callable[[Sequence[Item]], Result],
    suspects: Sequence[Item],
    dead: Callable[[Item], Result],
) -> Iterator[Result]:
    waiting, tries = deque(suspects), 0
    while waiting:
        with spread.executor() as executor:
            while waiting and tries < TRIES:
                try:
                    future = executor.submit(function, [waiting[0]])
                    wait([future])
                    result = None if _was_killed(future) else future.result()
                except BrokenExecutor:
                    tries += 1
                    break
                if result is None:
                    tries += 1
                    continue
                waiting.popleft()
                tries = 0
                yield result
        if tries == TRIES:
            yield dead(waiting.popleft())
            tries = 0


def _was_killed(future: Future) -> bool:
    """Whether the workers of this task alone died, as Dask says it."""
    return type(future.exception()).__name__ == 'KilledWorker'


def _chunks(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while part := list(islice(items, size)):
        yield part
