# SPDX-License-Identifier: Apache-2.0
"""For tests that need a GPU: `from gpu import pytestmark` marks and, elsewhere, skips a file."""

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU"),
]


def on_gpu(op):
    """`op` on tensors moved to the GPU, its result moved back; differentiable."""

    def moved(*args, **kwargs):
        args = [_move(a) for a in args]
        return op(*args, **{k: _move(v) for k, v in kwargs.items()}).cpu()

    return moved


def _move(value):
    return value.cuda() if torch.is_tensor(value) else value
