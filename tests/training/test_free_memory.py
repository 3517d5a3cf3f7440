# SPDX-License-Identifier: Apache-2.0
"""Memory that is free, by what Linux says of machine and container, and what fits in it."""

from dataclasses import replace

import pytest
import torch
from support.runs import trainer
from support.tiny import tiny

from stylegan.training import header as header_module
from stylegan.training.free_memory import excess, free_memory_gb, with_less_memory
from stylegan.training.header import header
from stylegan.training.memory import estimate_memory_gb

CPU = torch.device("cpu")
MEMINFO = "MemTotal: 9000000 kB\nMemAvailable: 4000000 kB\n"
STAT = "anon 1\ninactive_file 250000000\ntotal_inactive_file 250000000\n"


def system(root, files):
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def group(folder, limit, used, names=("memory.max", "memory.current")):
    texts = {names[0]: f"{limit}\n", names[1]: f"{used}\n", "memory.stat": STAT}
    return {f"sys/fs/cgroup/{folder}{name}": text for name, text in texts.items()}


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


@pytest.mark.parametrize(
    "files, gb",
    [
        ({}, 4.096),
        ({"proc/self/cgroup": "0::/a/b\n", **group("a/b/", "max", 5)}, 4.096),
        ({"proc/self/cgroup": "0::/a/b\n", **group("a/b/", 2 * 10**9, 10**9)}, 1.25),
        (  # the limit of a group around it
            {
                "proc/self/cgroup": "0::/a/b\n",
                **group("a/b/", "max", 5),
                **group("a/", 10**9, 5 * 10**8),
            },
            0.75,
        ),
        ({"proc/self/cgroup": "0::/\n", **group("", 10**9, 5 * 10**8)}, 0.75),  # in a container
        ({"proc/self/cgroup": "0::/not/mounted\n", **group("", 10**9, 5 * 10**8)}, 0.75),
        (
            {
                "proc/self/cgroup": "3:cpu:/x\n4:memory:/x\n",
                **group("memory/x/", 10**9, 5 * 10**8, V1),
            },
            0.75,
        ),
        (
            {"proc/self/cgroup": "4:memory:/\n", **group("memory/", 2**63 - 4096, 5, V1)},
            4.096,
        ),
        ({"proc/meminfo": "of another kind\n"}, None),
        ({"proc/self/cgroup": "garbled\n"}, None),
    ],
)
def test_free_memory(tmp_path, files, gb):
    assert free_memory_gb(CPU, system(tmp_path, files)) == gb


def test_here():
    free = free_memory_gb(CPU)
    assert free is None or 0 < free < 1e5


def test_the_batch_that_fits():
    config = tiny(batch=16, channel_base=1024, channel_max=64, resolution=64)
    needed = {
        n: estimate_memory_gb(replace(config, train=replace(config.train, batch_gpu=n)), CPU) - 0.4
        for n in (16, 8, 4, 2)
    }
    for free, batch_gpu in ((8.1, 8), (4.1, 4), (2.1, 2)):
        room = needed[int(free)] + 1e-4
        fewer = with_less_memory(config, CPU, room, 0)
        assert excess(config, CPU, room, 0) and fewer.train.batch_gpu == batch_gpu
        assert not excess(fewer, CPU, room, 0) and fewer.train.batch == 16
    assert not excess(config, CPU, needed[16] + 1e-4, 0)
    assert excess(config, CPU, needed[16] + 1e-4, cached_gb=1)
    assert not excess(config, CPU, None, 0)
    assert with_less_memory(config, CPU, 0.0001, 0) is None


@pytest.mark.parametrize(
    "free, text",
    [
        (None, None),
        (1000.0, None),
        (0.0001, "than the 0.0 GB that are free; a smaller --resolution or --channel-base needs"),
    ],
)
def test_the_header_warns(images, tmp_path, monkeypatch, free, text):
    monkeypatch.setattr(header_module, "free_memory_gb", lambda device: free)
    t = trainer(images, tmp_path / "run")
    lines = header(t.config, t.dataset, t.model, CPU)
    found = [line for line in lines if "more memory" in line]
    assert len(found) == (text is not None) and all(text in line for line in found)
    (memory,) = [line for line in lines if line.startswith("memory")]
    assert ("GB free" in memory) == (free is not None)
