# SPDX-License-Identifier: Apache-2.0
"""How many CPUs there are for threads, and how the threads of PyTorch wait for each other."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# How long a thread spins at a barrier before it sleeps. GNU's library counts rounds, 300000 by
# default, which are milliseconds. Of Intel's and LLVM's the default is 200 ms; 1 ms is no better,
# and 0 takes 18 % longer on an idle machine. Versions before 2023 do not know microseconds: they
# print a warning and keep their default. Figures: benchmarks/bench_busy.py, docs/performance.md.
WAITING = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "20us"}
VARIABLE_OF = {
    "libgomp": "GOMP_SPINCOUNT",
    "libiomp5": "KMP_BLOCKTIME",
    "libomp": "KMP_BLOCKTIME",
}
# If the user sets one of these, no other one is set.
WAITING_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "KMP_LIBRARY")
COUNT_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_THREAD_LIMIT")

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def tune_threads() -> dict[str, str]:
    """Let the threads of PyTorch on a CPU get along with other busy processes.

    By default the threads of OpenMP spin for milliseconds when they wait for each other. Beside
    another busy process they wait for a thread that does not run, and everything gets many times
    slower. On Linux this sets `GOMP_SPINCOUNT` (PyTorch's wheels) and `KMP_BLOCKTIME` (conda's
    builds), so that they sleep sooner. In a container that may use fewer CPUs than it sees, it sets
    `OMP_NUM_THREADS` too.

    OpenMP reads these variables once, when PyTorch is loaded, so call this before `import torch`.
    Processes that are started later inherit them. Variables that the user has set stay. No import
    calls this; the command `stylegan` does.

    Returns: the variables that it set, and their values; none if PyTorch is loaded already.
    """
    if "torch" in sys.modules:
        return {}
    found = settings(os.environ)
    os.environ.update(found)
    return found


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What `tune_threads` adds to such an environment: {variable: value}."""
    found = {}
    waiting_is_set = any(name in environment for name in WAITING_VARIABLES)
    if sys.platform == "linux" and not waiting_is_set:
        found.update(WAITING)
    if not any(name in environment for name in COUNT_VARIABLES):
        count = cpu_count()
        if count < visible_cpus():  # otherwise PyTorch finds the number of cores
            found["OMP_NUM_THREADS"] = str(min(count, _cores()))
    return found


def cpu_count() -> int:
    """CPUs that this process may use: those that it may run on, and no more than the limit of its
    container (cgroup), rounded up."""
    limit = cpu_limit()
    count = visible_cpus()
    return count if limit is None else max(min(count, math.ceil(limit)), 1)


def visible_cpus() -> int:
    """CPUs that this process may run on; a container's limit of time does not count."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_limit() -> float | None:
    """CPUs whose time the container (cgroup) of this process may use; None without a limit.

    Source: cgroup-v2.rst (cpu.max) and sched-bwc.rst (cpu.cfs_quota_us) of the Linux kernel.
    """
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except (OSError, ValueError):  # not Linux
        return None
    limits = [limit for line in lines for limit in _limits(line)]
    return min(limits, default=None)


def _limits(line: str) -> Iterator[float]:
    """The limits of one line `ID:controllers:path`, of the cgroup itself and of those around it.

    In a container the path may be that of the host, which does not exist inside; the limit then
    stands at the root of what is mounted."""
    _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
    if controllers and "cpu" not in controllers.split(","):
        return
    roots = [CGROUPS / controllers, CGROUPS / "cpu"] if controllers else [CGROUPS]
    for root in roots:
        folder = root / path.strip("/")
        while True:
            limit = _quota(folder, controllers)
            if limit is not None:
                yield limit
            if folder == root:
                break
            folder = folder.parent


def _quota(folder: Path, controllers: str) -> float | None:
    """CPUs by the files of one cgroup; None without a limit."""
    try:
        if controllers:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        else:
            quota, period = (folder / "cpu.max").read_text().split()
        if int(quota) > 0 and int(period) > 0:
            return int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or "max"
        pass
    return None


def _cores() -> int:
    """Cores behind the CPUs that this process may run on; a core may show as two CPUs."""
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    try:
        return len({Path(TOPOLOGY.format(cpu)).read_text() for cpu in cpus}) or visible_cpus()
    except OSError:
        return visible_cpus()


@dataclass(frozen=True)
class Threads:
    """The threads of PyTorch in this process."""

    count: int
    cpus: int  # that are visible
    limit: float | None  # CPUs that the container may use
    library: str | None  # the OpenMP that is loaded; None if that cannot be found out
    variables: dict[str, str]  # those that are set

    def __str__(self) -> str:
        limit = "" if self.limit is None else f", of which the container may use {self.limit:g}"
        said = [f"{self.count}, for {self.cpus} CPUs{limit}", self.library or ""]
        own = VARIABLE_OF.get(self.library or "")
        for name, value in self.variables.items():
            if own in (None, name) or name not in VARIABLE_OF.values():  # another library's
                said.append(f"{name}={value}")
        return "; ".join(filter(None, said))

    @property
    def fix(self) -> str:
        """How they get along better with other busy processes; "" if nothing is to be done."""
        if self.library is None or set(self.variables) & set(WAITING_VARIABLES):
            return ""
        variable = VARIABLE_OF[self.library]
        return f"export {variable}={WAITING[variable]}: faster while other programs compute"


def describe_threads() -> Threads:
    """The threads of this process, in which PyTorch is loaded."""
    import torch

    names = (*COUNT_VARIABLES, *WAITING_VARIABLES)
    variables = {name: os.environ[name] for name in names if name in os.environ}
    count, limit = torch.get_num_threads(), cpu_limit()
    return Threads(count, visible_cpus(), limit, openmp_library(), variables)


def openmp_library() -> str | None:
    """The name of the OpenMP library in this process: libgomp (GNU), libiomp5 (Intel) or libomp
    (LLVM); None if there is none, or if the system does not say."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:  # not Linux
        return None
    # Intel's and LLVM's take over the calls to GNU's if they are loaded too.
    names = ("libiomp5", "libomp", "libgomp")
    return next((n for n in names if re.search(rf"/{n}[-.][^/]*$", maps, re.MULTILINE)), None)
