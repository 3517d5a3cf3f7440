# SPDX-License-Identifier: Apache-2.0
"""Adaptive augmentation: the probability follows from how well D knows the real images."""

from __future__ import annotations

from typing import Any

import torch

INTERVAL = 4  # steps between two changes of p
AT_LIMIT = 0.99  # of the maximum; a p above that, at PATIENCE lines of the log in a row, is told
PATIENCE = 5


class Adaptation:
    """Moves p so that the mean sign of D on real images comes to a target.

    p += sign(mean sign(D(x)) - target) * images / (ada_kimg * 1000), within [0, max_p], every
    INTERVAL steps. Everything stays on the device, without waiting for it.

    Args:
        p: scalar tensor, which is changed in place.
        target: of the mean sign of D on real images, in [-1, 1].
        kimg: in which p can go from 0 to 1.
        max_p: maximum of p.
    Source: Karras et al. 2020 (arXiv:2006.06676), section 3.1.
    """

    def __init__(self, p: torch.Tensor, target: float, kimg: float, max_p: float) -> None:
        self.p, self.target, self.kimg, self.max_p = p, target, kimg, max_p
        self._signs, self._count = torch.zeros_like(p), 0

    def observe(self, real: torch.Tensor) -> None:
        """Count logits of real images, of any shape. sign(0) is 0."""
        self._signs = self._signs + real.detach().sign().sum()
        self._count += real.numel()

    def step(self, steps: int, batch: int) -> None:
        """Change p if INTERVAL steps have passed.

        Args:
            steps: of training so far.
            batch: images of a step.
        """
        if steps % INTERVAL or not self._count:
            return
        sign = (self._signs / self._count - self.target).sign()
        move = batch * INTERVAL / (self.kimg * 1000)
        self.p.copy_((self.p + sign * move).clamp(0, self.max_p))
        self._signs, self._count = torch.zeros_like(self.p), 0

    def state_dict(self) -> dict[str, Any]:
        """For a snapshot, without p."""
        return {"signs": self._signs, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._signs, self._count = state["signs"].to(self.p.device), state["count"]


class AtLimit:
    """Warns if p stays at its maximum, once until it has left it."""

    def __init__(self, max_p: float) -> None:
        self.max_p, self.streak = max_p, 0

    def __call__(self, p: float) -> str | None:
        """A warning after PATIENCE calls in a row with p at its maximum."""
        self.streak = self.streak + 1 if p >= AT_LIMIT * self.max_p > 0 else 0
        if self.streak != PATIENCE:
            return None
        return (
            f"the probability of augmentation is at its maximum, {self.max_p:g}, and D still knows "
            "the real images too well: keep the best snapshot so far, add images, or start from a "
            "trained network with --init-from"
        )
