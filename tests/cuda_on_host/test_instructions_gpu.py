# SPDX-License-Identifier: Apache-2.0
"""The tensor-core instructions of the harness are those of a GPU, for the same kernels."""

import ctypes
import subprocess

import cuda_on_host.test_instructions as emulated
import pytest
import torch
from cuda_on_host.build import CSRC, find_cuda_home
from support.gpu import pytestmark  # noqa: F401

DTYPES, STEPS = emulated.DTYPES, 5


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("needs a GPU of compute capability 8.0 or more")
    if find_cuda_home() is None:
        pytest.skip("no CUDA toolkit")
    target = tmp_path_factory.mktemp("instructions") / "library.so"
    arch = "-arch=sm_{}{}".format(*torch.cuda.get_device_capability())
    flags = "-std=c++17", "-O1", arch, "-shared", "-Xcompiler", "-fPIC", f"-I{CSRC}"
    nvcc = find_cuda_home() / "bin" / "nvcc"
    subprocess.run([nvcc, *flags, emulated.SOURCE, "-o", target], check=True)
    return ctypes.CDLL(str(target))


@pytest.fixture
def run(library, monkeypatch):
    """Replaces the emulation: tensors go to the GPU and come back."""

    def run(name, *args, order=0):
        on_gpu = [a.cuda() if torch.is_tensor(a) else a for a in args]
        function = getattr(library, f"run_{name}")
        function.restype = ctypes.c_char_p
        torch.cuda.synchronize()
        message = function(
            *(ctypes.c_void_p(a.data_ptr()) if torch.is_tensor(a) else a for a in on_gpu)
        )
        torch.cuda.synchronize()
        for here, a in zip(args, on_gpu):
            if torch.is_tensor(here):
                here.copy_(a)
        return message and message.decode()

    monkeypatch.setattr(emulated, "run", run)
    return run


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_products(run, dtype):
    emulated.test_products(0, dtype)


def test_every_number_of_16_bits(run):
    emulated.test_every_number_of_16_bits(torch.float16)


def test_matrices(run):
    emulated.test_matrices(0)


def test_rounding_to_tf32(run):
    """Of what is finite; a GPU may leave anything in the last 13 bits."""
    x = torch.randint(-(1 << 31), 1 << 31, (1000,), generator=torch.Generator().manual_seed(0))
    x = x.int()[x.int().view(torch.float32).abs() < 1e38][:900]
    x[:2] = torch.tensor([0x3F801000, 0x3F803000])  # ties
    y = torch.zeros_like(x)
    assert run("rounded", len(x), x, y) is None
    magnitude = (x & 0x7FFFFFFF) + 0x1000
    assert torch.equal(y & ~0x1FFF, (magnitude & ~0x1FFF) | (x & -(1 << 31)))


@pytest.mark.sanitizer
def test_the_pipeline(run):
    x = emulated.rand(32, 16 * STEPS, dtype=torch.float16)
    w, y = emulated.rand(16 * STEPS, 8, dtype=torch.float16), torch.zeros(32, 8)
    assert run("pipeline", emulated.fault_of("none"), 48, 0, STEPS, x, w, y) is None
    torch.testing.assert_close(y.double(), x.double() @ w.double(), rtol=1e-5, atol=1e-4)


def test_what_a_thread_has_copied_it_may_use(run):
    x, y = emulated.rand(256), torch.zeros(256)
    assert run("own_copies", 1, x, y) is None
    assert torch.equal(y, 2 * x.roll(128))
