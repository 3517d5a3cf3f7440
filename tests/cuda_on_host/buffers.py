# SPDX-License-Identifier: Apache-2.0
"""Memory that detects accesses out of bounds and missing stores."""

import ctypes
import mmap

import torch

GUARD = 4096  # bytes before and after each buffer
NEAR_INPUT = -2  # every 16 bits there: NaN in every floating dtype
NEAR_OUTPUT = 0x5AA5  # not NaN, which a kernel might pass on from beyond its input
_PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Buffers:
    """Inputs and outputs of one launch, each inside a larger buffer; `check` afterwards.

    Args:
        poison: byte that outputs are filled with. 0xFF is NaN in every floating dtype; where 0xFF
            is a value that might be right, run once more with another.
        fence: "before" or "after": on that side of every input no memory is mapped. A launch that
            reads there fails, even if it does not use what it reads.
    """

    def __init__(self, poison=0xFF, fence=None):
        self._poison, self._fence = poison, fence
        self._memory = []  # [all bytes, first and last byte of the payload, bytes of an input]

    def input(self, tensor, offset=0):
        """Address of a copy of a dense tensor in the order of its memory, or None for None. offset:
        elements by which it is misaligned to 16 bytes."""
        if tensor is None:
            return None
        flat = tensor.detach().as_strided((tensor.numel(),), (1,)).view(torch.uint8)
        copy = self._payload(len(flat), offset * tensor.dtype.itemsize, NEAR_INPUT, self._fence)
        self._memory[-1][-1] = copy.copy_(flat).clone()
        return copy.data_ptr()

    def output(self, count, dtype, offset=0):
        """[count] elements of poison."""
        size = dtype.itemsize
        payload = self._payload(count * size, offset * size, NEAR_OUTPUT)
        return payload.fill_(self._poison).view(dtype)

    def _payload(self, size, offset, near, fence=None):
        """Bytes between guards."""
        if fence is None:
            start = GUARD + offset
            memory = torch.empty((start + size + GUARD + 1) // 2 * 2, dtype=torch.uint8)
        else:
            memory = fenced_pages((size + offset + _PAGE + 15) // _PAGE * _PAGE, fence)
            start = (len(memory) - size - offset) // 16 * 16 if fence == "after" else 0
            start += offset
        assert memory.data_ptr() % 64 == 0
        memory.view(torch.int16).fill_(near)
        self._memory.append([memory, start, start + size, None])
        return memory[start : start + size]

    def check(self):
        for memory, start, stop, original in self._memory:
            what = "an output" if original is None else "an input"
            near = NEAR_OUTPUT if original is None else NEAR_INPUT
            expected = memory.new_full([len(memory) // 2], near, dtype=torch.int16)
            changed = memory != expected.view(torch.uint8)
            for side, guard in (("before", changed[:start]), ("after", changed[stop:])):
                assert not guard.any(), f"a store {side} {what} of {stop - start} bytes"
            if original is not None:
                assert torch.equal(memory[start:stop], original), "a store into an input"


def fenced_pages(size, side):
    """Whole pages, with an inaccessible page on one side."""
    memory = torch.frombuffer(mmap.mmap(-1, size + _PAGE), dtype=torch.uint8)
    first, fence = (_PAGE, 0) if side == "before" else (0, size)
    if _libc.mprotect(memory.data_ptr() + fence, _PAGE, 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    return memory[first : first + size]
