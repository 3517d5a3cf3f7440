# SPDX-License-Identifier: Apache-2.0
"""Checks for what goes wrong in training: values that are not finite, and signs of collapse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

LIMIT = 20  # updates of one kind in a row that fail before the run stops
# Each failure counts 1 and fades by 1/LIMIT with every update. LIMIT failures in a row reach this
# count, and so does an update that fails two times out of three in the long run.
MAX_FAILURES = LIMIT * (1 - (1 - 1 / LIMIT) ** LIMIT)
PATIENCE = 5  # ticks in a row with a sign of collapse before a warning
WARM_UP = 20_000  # images; before that neither a winning D nor similar images mean anything


class Finite:
    """Counts losses and gradients that are not finite, without waiting for the device.

    Args:
        networks: {"G": module, "D": module}.
        device: where they are.
    """

    def __init__(self, networks: Mapping[str, torch.nn.Module], device: torch.device) -> None:
        self._networks, self._device = networks, device
        self.names = {n: [k for k, _ in m.named_parameters()] for n, m in networks.items()}
        self._halves = {
            n: torch.tensor([p.numel() // 2 for p in m.parameters()], device=device)
            for n, m in networks.items()
        }
        self._layers = {n: torch.zeros_like(h) for n, h in self._halves.items()}
        self._bad = torch.zeros([], dtype=torch.int64, device=device)
        # {kind of update: [1 + parameters], of its loss and of each layer}
        self._failures: dict[str, torch.Tensor] = {}
        self.updates = self._failed = 0
        self._next_line = 1

    def update(self, kind: str, name: str, loss_is_bad: torch.Tensor) -> torch.Tensor:
        """Count an update after its backward, and clean the gradients of networks[name]: NaN
        becomes 0, infinities +-1e5.

        Args:
            kind: "G main", "D R1", ...
            loss_is_bad: bool tensor, whether any of its losses was not finite.
        Returns: how many values of the gradients were not finite, an int64 tensor.
        """
        self.updates += 1
        counts = _clean(self._networks[name], self._device)
        if counts is None:
            counts = torch.zeros_like(self._halves[name])
        else:
            self._layers[name] = self._layers[name] + counts
        count = counts.sum()
        self._bad = self._bad + (loss_is_bad | (count > 0))
        # A few values too large for float16 now and then do not count as failure of a layer.
        failed = torch.cat([loss_is_bad[None], counts > self._halves[name]]).float()
        self._failures[kind] = self._failures.get(kind, 0) * (1 - 1 / LIMIT) + failed
        return count

    def failing(self) -> list[str]:
        """What has failed LIMIT times in a row, or nearly always. This waits for the device."""
        found = []
        for kind, failures in self._failures.items():
            loss, *layers = (failures > MAX_FAILURES - 1e-3).tolist()
            names = [k for k, bad in zip(self.names[kind[0]], layers) if bad]
            if loss:
                found.append(f"the loss of {kind}")
            elif names:
                more = f" and {len(names) - 1} more" if names[1:] else ""
                found.append(f"the gradient of {kind[0]}.{names[0]}{more} in {kind}")
        return found

    def healthy(self) -> bool:
        """Whether nothing has failed repeatedly in the last updates."""
        return not any(bool((failures > 2).any()) for failures in self._failures.values())

    def layers(self, max_layers: int = 3) -> str:
        """The layers with the most values that were not finite since `take`."""
        counts = [
            (int(c), f"{n}.{k}")
            for n, names in self.names.items()
            for k, c in zip(names, self._layers[n].tolist())
            if c
        ]
        return ", ".join(
            f"{layer} ({count:,})" for count, layer in sorted(counts)[: -max_layers - 1 : -1]
        )

    def take(self) -> str | None:
        """A line on what was not finite since the last line, or None. In a long run lines come at
        the 1st, 2nd, 4th, 8th ... update that fails."""
        bad = int(self._bad)
        if not bad:
            return None
        self._bad = torch.zeros_like(self._bad)
        self._failed += bad
        layers = self.layers()
        self._layers = {n: torch.zeros_like(c) for n, c in self._layers.items()}
        if self._failed < self._next_line:
            return None
        while self._next_line <= self._failed:
            self._next_line *= 2
        where = f"; gradients most in {layers}" if layers else ""
        return f"not finite: losses or gradients of {self._failed} of {self.updates} updates{where}"

    def nonfinite_weights(self) -> list[str]:
        """Names of parameters that hold a NaN or an infinity."""
        return [
            f"{n}.{k}"
            for n, network in self._networks.items()
            for k, p in network.named_parameters()
            if not bool(p.isfinite().all())
        ]

    def state_dict(self) -> dict[str, Any]:
        """For a snapshot."""
        return {
            "updates": self.updates,
            "failed": self._failed,
            "say_at": self._next_line,
            "bad": self._bad,
            "layers": self._layers,
            "failures": self._failures,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.updates, self._failed = state["updates"], state["failed"]
        self._next_line, self._bad = state["say_at"], state["bad"].to(self._device)
        self._layers = {n: c.to(self._device) for n, c in state["layers"].items()}
        self._failures = {k: f.to(self._device) for k, f in state["failures"].items()}


class Collapse:
    """Looks for signs of collapse in the means of a tick."""

    def __init__(self) -> None:
        self.streaks = {name: 0 for name in SIGNS}

    def __call__(self, means: dict[str, float], images_seen: int) -> list[str]:
        """Warnings. Each comes once, until the sign has gone and come back."""
        lines = []
        for name, sign in SIGNS.items():
            if images_seen >= WARM_UP and sign.shows(means):
                self.streaks[name] += 1
                if self.streaks[name] == PATIENCE:
                    lines.append(sign.text(means))
            else:
                self.streaks[name] = 0
        return lines


@dataclass(frozen=True)
class Sign:
    """A sign of collapse."""

    shows: Callable[[dict[str, float]], bool]  # in the means of a tick
    text: Callable[[dict[str, float]], str]  # of the warning


def _d_wins(m: dict[str, float]) -> bool:
    return m.get("sign/real", 0) > 0.97 and m.get("sign/fake", 0) < -0.97


def _d_blind(m: dict[str, float]) -> bool:
    return m.get("sign/real", 1) * m.get("sign/fake", -1) > 0.97**2


def _alike(m: dict[str, float]) -> bool:
    return m.get("std/fake", 1) < 0.25 * m.get("std/real", 0)


SIGNS = {
    "d_wins": Sign(
        _d_wins,
        lambda m: (
            f"D tells real from generated almost always (mean sign {m['sign/real']:.2f} and "
            f"{m['sign/fake']:.2f}): too few images, or G no longer follows"
        ),
    ),
    "d_blind": Sign(
        _d_blind,
        lambda m: (
            f"D says the same of all images (mean sign {m['sign/real']:.2f} of real and "
            f"{m['sign/fake']:.2f} of generated ones): it may have collapsed"
        ),
    ),
    "alike": Sign(
        _alike,
        lambda m: (
            f"generated images are nearly all alike (they differ by {m['std/fake']:.3f}, real "
            f"ones by {m['std/real']:.3f}): G may have collapsed"
        ),
    ),
}


def first_nonfinite(
    networks: Mapping[str, torch.nn.Module], run: Callable[[], object]
) -> str | None:
    """Name of the first layer whose output is not finite during `run()`, or None.

    Args: networks: {"G": module, "D": module}.
    """
    found: list[str] = []

    def hook(name: str) -> Callable:
        def look(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            outputs = output if isinstance(output, tuple) else (output,)
            if not found and any(torch.is_tensor(o) and not o.isfinite().all() for o in outputs):
                found.append(name)

        return look

    handles = [
        module.register_forward_hook(hook(f"{n}.{k}"))
        for n, network in networks.items()
        for k, module in network.named_modules()
        if k  # the hook of an inner layer runs before that of the layer around it
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


@torch.no_grad()
def _clean(network: torch.nn.Module, device: torch.device) -> torch.Tensor | None:
    """Replace NaN by 0 and infinities by +-1e5 in the gradients.

    Returns: how many there were in each parameter, int64 [parameters]; None if there were none for
        sure.
    """
    grads = [p.grad for p in network.parameters()]
    if device.type == "cpu":
        # A finite sum has finite terms, and on the CPU reading it costs no wait.
        sums = [g.sum() for g in grads if g is not None]
        if all(torch.isfinite(s) for s in sums):
            return None
    counts = []
    for g in grads:
        if g is None:
            counts.append(torch.zeros([], dtype=torch.int64, device=device))
            continue
        counts.append((~g.isfinite()).sum())
        torch.nan_to_num(g, nan=0, posinf=1e5, neginf=-1e5, out=g)
    return torch.stack(counts)
