# SPDX-License-Identifier: Apache-2.0
"""What tests of the harness's instructions share: calls of instructions.cu, and operands."""

import ctypes
import re

import torch
from cuda_on_host.build import HERE, load

SOURCE = HERE / "instructions.cu"
DTYPES = [torch.float16, torch.bfloat16, torch.float32]
GROUP, PLACE = torch.arange(32) // 4, torch.arange(32) % 4  # of a lane


def emulated(name, *args, order=0):
    """Calls run_<name>; what went wrong as a string, or None."""
    library = load(SOURCE)
    function = getattr(library, f"run_{name}")
    function.restype = ctypes.c_char_p
    library.cuda_on_host_order(order)
    message = function(*(ctypes.c_void_p(a.data_ptr()) if torch.is_tensor(a) else a for a in args))
    return message and message.decode()


def rand(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator).to(dtype)


def packed(numbers):
    """[32, n] numbers of 16 bits, as registers with two, the first in the lower half; or of 32."""
    return numbers.contiguous().view(torch.int32)


def fragments(a, b):
    """Of a [16, K] and b [K, 8], element by element as in the PTX manual."""
    if a.dtype == torch.float32:  # m16n8k8: a0 to a3, b0 and b1
        rows, columns = [0, 8, 0, 8], [0, 0, 4, 4]
        x = [a[GROUP + i, PLACE + j] for i, j in zip(rows, columns)]
        return torch.stack(x, 1), torch.stack([b[PLACE + i, GROUP] for i in (0, 4)], 1)
    rows, columns = [0, 0, 8, 8, 0, 0, 8, 8], [0, 1, 0, 1, 8, 9, 8, 9]  # m16n8k16: a0 to a7
    x = [a[GROUP + i, PLACE * 2 + j] for i, j in zip(rows, columns)]
    return torch.stack(x, 1), torch.stack([b[PLACE * 2 + i, GROUP] for i in (0, 1, 8, 9)], 1)


def accumulators(d):
    """[32, 4] of d [16, 8]."""
    places = [(0, 0), (0, 1), (8, 0), (8, 1)]
    return torch.stack([d[GROUP + i, PLACE * 2 + j] for i, j in places], 1)


def truncated(x):
    return (x.view(torch.int32) & ~0x1FFF).view(torch.float32)


def fault_of(name):
    """Its number in instructions.cu."""
    names = re.search(r"enum Fault \{(.*?)\}", SOURCE.read_text(), re.DOTALL)[1]
    return re.findall(r"\w+", names).index(name)
