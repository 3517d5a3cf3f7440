# SPDX-License-Identifier: Apache-2.0
"""Memory that tells of stores out of place and of stores that are missing."""

import torch

GUARD, PATTERN = 4096, 0xA5  # bytes before and after each buffer, and what is in them


class Buffers:
    """Inputs and outputs of one launch, each inside a larger buffer; `check` afterwards.

    Args:
        poison: byte that outputs are filled with. 0xFF is NaN in every floating dtype; where 0xFF
            is a value that might be right, run once more with another.
    """

    def __init__(self, poison=0xFF):
        self._poison = poison
        self._memory = []  # [all bytes, first and last byte of the payload, bytes of an input]

    def input(self, tensor, offset=0):
        """Address of a copy of a dense tensor in the order of its memory, or None for None. offset:
        elements by which it is misaligned to 16 bytes."""
        if tensor is None:
            return None
        flat = tensor.detach().as_strided((tensor.numel(),), (1,))
        copy = self.output(flat.numel(), flat.dtype, offset)
        copy.copy_(flat)
        self._memory[-1][-1] = copy.clone().view(torch.uint8)
        return copy.data_ptr()

    def output(self, count, dtype, offset=0):
        """[count] elements of poison."""
        start = GUARD + offset * dtype.itemsize
        stop = start + count * dtype.itemsize
        memory = torch.full((stop + GUARD,), PATTERN, dtype=torch.uint8)
        assert memory.data_ptr() % 64 == 0
        memory[start:stop] = self._poison
        self._memory.append([memory, start, stop, None])
        return memory[start:stop].view(dtype)

    def check(self):
        for memory, start, stop, original in self._memory:
            what = "an output" if original is None else "an input"
            for side, guard in (("before", memory[:start]), ("after", memory[stop:])):
                assert (guard == PATTERN).all(), f"a store {side} {what} of {stop - start} bytes"
            if original is not None:
                assert torch.equal(memory[start:stop], original), "a store into an input"
