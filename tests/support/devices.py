# SPDX-License-Identifier: Apache-2.0
"""For tests with the fixture `device`: tensors are made and results are compared on the CPU."""

import torch


def on(device, op):
    """`op` on tensors moved to a device, its result moved back; differentiable."""

    def moved(*args, **kwargs):
        args = [_move(a, device) for a in args]
        return op(*args, **{k: _move(v, device) for k, v in kwargs.items()}).cpu()

    return moved


def _move(value, device):
    return value.to(device) if torch.is_tensor(value) else value
