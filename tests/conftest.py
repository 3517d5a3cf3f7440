# SPDX-License-Identifier: Apache-2.0
"""Tiers of tests, devices, and what keeps several worker processes out of each other's way."""

import contextlib
import os
import re

# Workers share the cores. Without this, idle OpenMP threads spin and slow the other workers down.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import pytest  # noqa: E402
import torch  # noqa: E402

import stylegan_ops  # noqa: E402

try:
    import fcntl
except ImportError:  # Windows, where tests run in one process: pytest -n 0
    fcntl = None

NO_GPU = "there is no CUDA GPU"


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU),
            ],
        ),
    ]
)
def device(request):
    """Every device that a test shall run on: "cpu", and "cuda" with the mark `gpu`."""
    if request.param == "cuda":
        assert stylegan_ops.load("cuda") is None
    return torch.device(request.param)


@pytest.fixture
def auto_backend():
    """The backend is "auto", whatever STYLEGAN_OPS says."""
    with stylegan_ops.backend("auto"):
        yield


def pytest_configure(config):
    """A test that is named (`pytest tests/x.py::test_y`) runs whatever its tier is."""
    if config.option.markexpr == "quick" and any("::" in arg for arg in config.args):
        config.option.markexpr = ""


def pytest_xdist_auto_num_workers(config):
    """For -n auto: tests of one GPU do not share it. None: as many as there are cores."""
    return 1 if re.search(r"\b(gpu|sanitizer)\b", config.option.markexpr or "") else None


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marks
def pytest_collection_modifyitems(items):
    """What is not thorough is quick. Tests that run alone come last.

    Raises: pytest.UsageError for a name that holds an address: workers would disagree on the names.
    """
    for item in items:
        if re.search(r" at 0x[0-9a-f]+", item.nodeid):
            raise pytest.UsageError(f"{item.nodeid}: give this case a name, its repr is an address")
        if item.get_closest_marker("thorough") is None:
            item.add_marker("quick")
    items.sort(key=lambda item: item.get_closest_marker("serial") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """A test marked `serial` runs while no other worker runs any."""
    alone = item.get_closest_marker("serial") is not None
    with _turn(item.config, alone):
        return (yield)


@contextlib.contextmanager
def _turn(config, alone):
    """Hold one lock for as long as a test runs: shared, or exclusive if it runs alone. Everybody
    passes a gate first, which a test that waits for its turn keeps closed for later ones."""
    if fcntl is None or not hasattr(config, "workerinput"):
        yield
        return
    folder = config._tmp_path_factory.getbasetemp().parent  # of all workers
    with open(folder / "gate", "a") as gate, open(folder / "running", "a") as running:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(running, fcntl.LOCK_UN)  # processes forked by a test hold it too
