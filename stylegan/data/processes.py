# SPDX-License-Identifier: Apache-2.0
"""Work on the files of a data set in several processes. A file may kill its process."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from stylegan.threads import cpu_count

CHUNK = 8  # images that a process gets at once
AHEAD = 4  # chunks per process that may wait, so that memory stays bounded
KILLS = "kills the process that reads it"

Result = TypeVar("Result")
Work = Callable[[list[str]], list[Result | str]]  # a result for each file, or why there is none


def in_processes(
    work: Work[Result], files: Iterable[str], workers: int | None
) -> Generator[Result | str, None, None]:
    """The results of every file, in their order.

    Args:
        work: what to do with some files; it is sent to the processes.
        workers: processes; 0 works in this one. None: one per CPU.
    """
    workers = cpu_count() if workers is None else workers
    if not workers:
        yield from (work([name])[0] for name in files)
        return
    chunks, pool = _chunks(files), _pool(work, workers)
    waiting: deque[tuple[list[str], Future[list[Result | str]]]] = deque()
    try:
        while True:
            while len(waiting) < AHEAD * workers and (chunk := next(chunks, None)):
                waiting.append((chunk, pool.submit(_do, chunk)))
            if not waiting:
                return
            chunk, future = waiting.popleft()
            try:
                yield from future.result()
            except BrokenProcessPool:  # one process died, which ends the whole pool
                pool.shutdown(wait=False, cancel_futures=True)
                yield from (_alone(work, name) for name in chunk)
                pool = _pool(work, workers)
                waiting = deque((c, pool.submit(_do, c)) for c, _ in waiting)
    finally:
        # Python may print a traceback at its end if idle processes are still being ended then.
        pool.shutdown(wait=not waiting, cancel_futures=True)


def _alone(work: Work[Result], name: str) -> Result | str:
    """The result of one file in a process of its own, which it may kill."""
    with _pool(work, 1) as pool:
        try:
            return pool.submit(_do, [name]).result()[0]
        except BrokenProcessPool:
            return KILLS


_work: list[Work] = []  # of this process


def _begin(work: Work) -> None:
    """Begin a process. The work, which may hold a long list of files, is sent once."""
    # Ctrl-C reaches all processes of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _work[:] = [work]


def _do(names: list[str]) -> list:
    return _work[0](names)


def _pool(work: Work, workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, initializer=_begin, initargs=(work,))


def _chunks(files: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for name in files:
        chunk.append(name)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
