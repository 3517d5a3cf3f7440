# SPDX-License-Identifier: Apache-2.0
"""Names of devices, and what torch says of broken ones, in one line."""

import warnings

import pytest
import torch

from stylegan.device import describe, resolve_device
from stylegan.errors import Note, UserError

BROKEN = (
    "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
    "NumCudaDevices() that might have already set an error? Error 804: forward compatibility was "
    "attempted on non supported HW (Triggered internally at /c10/cuda/CUDAFunctions.cpp:109.)"
)
CAUSE = "Error 804: forward compatibility was attempted on non supported HW"
NO_DRIVER = (
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed "
    "a driver from http://www.nvidia.com/Download/index.aspx"
)


def fail_with(error):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.fixture
def cuda_build(monkeypatch):
    """A PyTorch with CUDA, as far as the names say."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    "name, meant",
    [
        ("gpu", "cuda"),
        ("GPU", "cuda"),
        ("CUDA", "cuda"),
        ("0", "cuda:0"),
        ("metal", "mps"),
        ("-1", "cpu"),
    ],
)
def test_names_that_are_nearly_right(name, meant):
    with pytest.raises(UserError, match=rf"expected auto, .*; did you mean {meant}\?$"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["meta", "cuda:", "cuda:x", "", "cuda:1,2", "tpu"])
def test_names_that_mean_nothing(name):
    with pytest.raises(UserError, match="expected auto, cpu, cuda, cuda:1, mps or xpu$"):
        resolve_device(name)


@pytest.mark.parametrize(
    "error, reason",
    [
        (RuntimeError("CUDA error: invalid device ordinal\nCompile with `TORCH_USE_CUDA_DSA`"),
         "this machine has cuda:0 to cuda:1"),
        (RuntimeError(BROKEN), CAUSE),
        (RuntimeError(NO_DRIVER), "Found no NVIDIA driver on your system"),
        (RuntimeError("CUDA error: unknown error\nCUDA kernel errors might be asynchronously"),
         "unknown error"),
        (OSError(2, "libcuda.so.1: cannot open shared object file"),
         "[Errno 2] libcuda.so.1: cannot open shared object file"),
        (ValueError(), "ValueError"),
    ],
)  # fmt: skip
def test_what_torch_says_is_one_short_line(error, reason, monkeypatch, cuda_build):
    monkeypatch.setattr(torch, "empty", fail_with(error))
    with pytest.raises(UserError) as e:
        resolve_device("cuda:7")
    line = f"device 'cuda:7': not available here ({reason}); auto uses what this machine has"
    assert str(e.value) == line


@pytest.mark.parametrize(
    "name, reason",
    [
        ("mps", "MPS is the GPU of a Mac"),
        ("cuda", "built without CUDA"),
        ("cuda:7", "built without CUDA"),
        ("xpu", "XPU is a GPU of Intel"),
    ],
)
def test_other_devices(name, reason, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch, "empty", fail_with(AssertionError("a long story")))
    with pytest.raises(UserError, match=f"not available here .*{reason}"):
        resolve_device(name)


@pytest.mark.parametrize("raised", [False, True])
def test_auto_names_a_broken_driver(raised, monkeypatch):
    def available():
        if raised:
            raise RuntimeError(BROKEN)
        warnings.warn(f"CUDA initialization: {BROKEN}", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", available)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.warns(Note, match=rf"^the GPU is not used: {CAUSE}$"):
        assert resolve_device("auto") == torch.device("cpu")


def test_auto_is_silent_without_a_gpu(monkeypatch, recwarn):
    def available():
        warnings.warn(f"CUDA initialization: {NO_DRIVER}", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", available)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu") and not recwarn


@pytest.mark.parametrize("threads, text", [(1, "cpu (1 thread)"), (2, "cpu (2 threads)")])
def test_description_of_a_cpu(threads, text, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert describe(torch.device("cpu")) == text
