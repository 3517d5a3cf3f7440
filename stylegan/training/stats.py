# SPDX-License-Identifier: Apache-2.0
"""Means of what is measured during training."""

import torch


class Stats:
    """Running means that do not make the device wait: values stay on it until `take`."""

    def __init__(self):
        self._sums = {}

    def add(self, name, value, count=1):
        """Add `value`, a number or a scalar tensor, that is the mean of `count` samples."""
        value = value.detach() if torch.is_tensor(value) else value
        total, n = self._sums.get(name, (0, 0))
        self._sums[name] = (total + value * count, n + count)

    def means(self):
        """{name: mean} of everything since `clear`."""
        return {name: float(total) / n for name, (total, n) in self._sums.items()}

    def clear(self):
        """Begin anew."""
        self._sums = {}

    def state_dict(self):
        """For a snapshot."""
        return {name: [total, n] for name, (total, n) in self._sums.items()}

    def load_state_dict(self, state, device):
        """The inverse of `state_dict`."""
        self._sums = {
            name: (total.to(device) if torch.is_tensor(total) else total, n)
            for name, (total, n) in state.items()
        }
