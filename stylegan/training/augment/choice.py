# SPDX-License-Identifier: Apache-2.0
"""Which augmentation a run has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from stylegan.config import TrainConfig
from stylegan.config.train import AUG_SETTINGS, MANY_IMAGES
from stylegan.errors import UserError
from stylegan.training.adapt import Adaptation
from stylegan.training.augment.pipe import AugmentPipe, check_filter, pipe_of
from stylegan.training.diffaugment import DiffAugment


@dataclass(frozen=True)
class Augmentation:
    """What happens to the images that D sees, and what changes its probability."""

    images: AugmentPipe | DiffAugment | None = None
    adaptation: Adaptation | None = None

    @property
    def p(self) -> torch.Tensor | None:
        """Scalar tensor, the probability of each transform; None without one."""
        return self.images.p if isinstance(self.images, AugmentPipe) else None

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images if self.images is None else self.images(images)

    def state_dict(self) -> dict[str, Any]:
        """For a snapshot."""
        if self.adaptation is None:
            return {}
        return {"p": self.p, **self.adaptation.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        if self.adaptation is not None and self.p is not None:
            self.p.copy_(state["p"])
            self.adaptation.load_state_dict(dict(state))


def augmentation_of(
    train: TrainConfig, device: torch.device, generator: torch.Generator
) -> Augmentation:
    """The augmentation of a run.

    Args:
        train: resolved settings.
        generator: of the random numbers, on `device`.
    """
    if train.aug == "diff":
        return Augmentation(DiffAugment(train.diff_policy, generator))
    if train.aug not in ("ada", "fixed"):
        return Augmentation()
    pipe = pipe_of(train.aug_pipe).to(device)
    pipe.generator = generator
    if train.aug == "fixed":
        pipe.p.fill_(train.aug_p)
        return Augmentation(pipe)
    pipe.p.zero_()
    adaptation = Adaptation(pipe.p, train.ada_target, train.ada_kimg, train.ada_max_p)
    return Augmentation(pipe, adaptation)


def with_implied(options: dict[str, Any]) -> dict[str, Any]:
    """Settings of a user, with the `aug` that another of them asks for.

    Raises: UserError if they contradict each other.
    """
    allowed: tuple[str, ...] = (options["aug"],) if options.get("aug") else ()
    asked_by = "aug"  # the first setting that asks for one
    for name, choices in AUG_SETTINGS.items():
        if name not in options:
            continue
        both = tuple(choice for choice in allowed or choices if choice in choices)
        if not both:
            given = f"aug {allowed[0]}"
            if asked_by != "aug":
                given = f"{asked_by}, which means {given}"
            wanted = " or ".join(f"aug {choice}" for choice in choices)
            raise UserError(name, f"goes with {wanted}, not with {given}; leave one of them out")
        asked_by = asked_by if allowed else name
        allowed = both
    return {**options, "aug": allowed[0]} if allowed else options


def check_size(train: TrainConfig, height: int, width: int) -> None:
    """Raises: UserError if the pipe cannot take images of this size."""
    if train.aug in ("ada", "fixed") and pipe_of(train.aug_pipe).strengths["imgfilter"]:
        check_filter(height, width, "aug_pipe")


def describe(train: TrainConfig, images: int) -> str:
    """What the header says of it.

    Args:
        train: resolved settings.
        images: in the data set.
    """
    if train.aug == "ada":
        text = (
            f"adaptive (ADA), pipe {train.aug_pipe}, target {train.ada_target:g}, probability up "
            f"to {train.ada_max_p:g}"
        )
        few = f"; good below {MANY_IMAGES:,} images, --aug none turns it off"
        return text + few * (images < MANY_IMAGES)
    if train.aug == "fixed":
        return f"pipe {train.aug_pipe} with probability {train.aug_p:g}"
    if train.aug == "diff":
        return f"DiffAugment, {train.diff_policy}"
    many = f"; {MANY_IMAGES:,} images or more need none, --aug ada turns it on"
    return "none" + many * (images >= MANY_IMAGES)
