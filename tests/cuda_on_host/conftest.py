# SPDX-License-Identifier: Apache-2.0
"""Calls of instructions.cu on the host and on a GPU."""

import ctypes
import subprocess

import pytest
import torch
from cuda_on_host.build import CSRC, find_cuda_home
from cuda_on_host.instructions import SOURCE, emulated


@pytest.fixture
def run(device, request):
    """Calls run_<name> on a device."""
    return emulated if device.type == "cpu" else request.getfixturevalue("run_on_gpu")


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("needs a GPU of compute capability 8.0 or more")
    if find_cuda_home() is None:
        pytest.skip("no CUDA toolkit")
    target = tmp_path_factory.mktemp("instructions") / "library.so"
    arch = "-arch=sm_{}{}".format(*torch.cuda.get_device_capability())
    flags = "-std=c++17", "-O1", arch, "-shared", "-Xcompiler", "-fPIC", f"-I{CSRC}"
    nvcc = find_cuda_home() / "bin" / "nvcc"
    subprocess.run([nvcc, *flags, SOURCE, "-o", target], check=True)
    return ctypes.CDLL(str(target))


@pytest.fixture
def run_on_gpu(library):
    """Tensors go to the GPU and come back."""

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

    return run
