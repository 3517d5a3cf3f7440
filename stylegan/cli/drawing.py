# SPDX-License-Identifier: Apache-2.0
"""What the commands that draw share: their options, the pipeline, and what a picture is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from stylegan.cli.labels import Choice, choices_of, rare, untrained
from stylegan.cli.params import device_option, network_argument
from stylegan.cli.provenance import made_by
from stylegan.cli.values import finite

if TYPE_CHECKING:
    from stylegan.inference.pipeline import Pipeline
    from stylegan.metrics.labels import TrainingLabels
    from stylegan.networks import Networks

NOISE_MODES = {"const": "the network's own", "random": "fresh", "none": "none"}  # as help says


@dataclass(frozen=True)
class Drawing:
    """The options of `drawing_options`."""

    network: str
    trunc: float
    trunc_cutoff: int | None
    trunc_center: str | None
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    noise_mode: str
    batch: int | None
    compile: bool
    device: str

    def open(self) -> Pipeline:
        """The pipeline of the network. Prints notes on options that have no effect."""
        import stylegan_ops
        from stylegan.inference.pipeline import Pipeline

        stylegan_ops.tune_cpu_allocator()
        pipe = Pipeline.from_pretrained(
            self.network, self.device, self.compile, truncation_center=self.trunc_center
        )
        if self.batch:
            pipe.batch = self.batch
        if self.noise_mode != "const" and not getattr(pipe.G.config, "use_noise", False):
            note(f"this network has no noise inputs; --noise-mode {self.noise_mode} has no effect")
        return pipe

    def choices(self, pipe: Pipeline) -> list[Choice]:
        """The labels to draw with, one or more. Prints a note on classes that the network has not
        learned, and on labels that no training image has together. Raises: UserError."""
        return noted_choices(pipe.networks, self.network, self.classes, self.labels)

    def note_average(self, pipe: Pipeline, count: int) -> None:
        """Print a note if truncation makes `count` seeds the same picture."""
        if self.trunc == 0 and self.trunc_cutoff is None and count > 1:
            own = pipe.truncation_center == "class"
            of = " of a label" if own else ""
            same = " with that label" if own else ""
            note(f"--trunc 0 draws the average image{of}, the same for every seed{same}")

    @property
    def mapping(self) -> dict[str, Any]:
        """Arguments of a call of the pipeline that decide the latents."""
        return {"truncation_psi": self.trunc, "truncation_cutoff": self.trunc_cutoff}

    @property
    def variant(self) -> str:
        """What a file name says of the options that are not the default."""
        parts = [
            f"trunc{self.trunc:.12g}" if self.trunc != 1 else "",
            "" if self.trunc_cutoff is None else f"cutoff{self.trunc_cutoff}",
            "center-all" if self.trunc_center == "all" and self.trunc != 1 else "",
            f"noise-{self.noise_mode}" if self.noise_mode != "const" else "",
        ]
        return "".join(f"-{part}" for part in parts if part)

    def metadata(
        self, command: str, pipe: Pipeline, mapped: bool = True, **more: Any
    ) -> dict[str, Any]:
        """What every file says about how it was made.

        Args:
            mapped: whether the command maps seeds, so that truncation counts.
            more: options of the command.
        """
        options = {
            **more,
            "trunc": self.trunc if mapped else None,
            "trunc_cutoff": self.trunc_cutoff,
            "trunc_center": pipe.truncation_center if mapped and self.trunc != 1 else None,
            "noise_mode": self.noise_mode,
            "batch": self.batch,
            "compile": self.compile or None,
            "device": str(pipe.device),
        }
        return made_by(command, self.network, pipe.networks, options)


def note(text: str) -> None:
    """Print a note beside the output."""
    click.echo(f"note: {text}", err=True)


@dataclass(frozen=True)
class Asked:
    """The options of `label_options`."""

    trunc_center: str | None
    classes: tuple[str, ...]
    labels: tuple[str, ...]

    def of(self, networks: Networks, network: str) -> TrainingLabels:
        """The labels to measure with: those of the training set unless others are given.

        Raises: UserError for a label that the network does not have, or if none are known.
        """
        from stylegan.metrics.labels import TrainingLabels

        if not self.classes and not self.labels:
            return TrainingLabels.of(networks)
        choices = noted_choices(networks, network, self.classes, self.labels)
        asked = [choice.value for choice in choices if choice.value is not None]
        return TrainingLabels.asked_for(networks, asked)

    @property
    def given(self) -> list[str]:
        """The options that are given."""
        options = {
            "--trunc-center": self.trunc_center,
            "--class": self.classes,
            "--label": self.labels,
        }
        return [name for name, value in options.items() if value]

    def about(self, networks: Networks, trunc: float) -> dict[str, Any]:
        """For the metadata, with the default of --trunc-center. Args: trunc: psi."""
        from stylegan.inference.truncation import center_of

        G = networks.best_G
        return {
            "trunc": trunc,
            "trunc_center": center_of(G, self.trunc_center) if G and trunc != 1 else None,
            "class": "; ".join(self.classes),
            "label": "; ".join(self.labels),
        }


def noted_choices(
    networks: Networks, network: str, classes: Sequence[str], labels: Sequence[str]
) -> list[Choice]:
    """`choices_of`, with a note on classes that the network has not learned, and on labels that no
    training image has together. Raises: UserError."""
    choices = choices_of(networks, network, classes, labels)
    for name in untrained(networks, choices):
        note(f"class {name} had no training images, so the network has not learned it")
    for label in rare(networks, choices):
        note(f"no training image that the network keeps has {label}; other labels are 0")
    return choices


def with_options(function: Callable, options: Sequence[Callable]) -> Callable:
    """A command with these options, in this order."""
    for option in reversed(options):
        function = option(function)
    return function


def label_options() -> list[Callable]:
    """--trunc-center, --class and --label."""
    return [
        click.option(
            "--trunc-center",
            type=click.Choice(["all", "class"]),
            help="Truncate towards the average of all images, or of those with the same class or "
            "label.  [default: class, if the network has labels]",
        ),
        click.option(
            "--class",
            "classes",
            multiple=True,
            metavar="NAME|NUMBER",
            help="Class of a conditional network. Repeat the option for several classes.",
        ),
        click.option(
            "--label",
            "labels",
            multiple=True,
            metavar="NAMES|NUMBERS|FILE",
            help="Labels by name: glasses,hat or glasses=0.5,hat=0. Or all numbers of a label: "
            "0.2,1,0, or a .npy, .csv or .json file with a label in each row.  [default: labels of "
            "training images]",
        ),
    ]


def asked_options(function: Callable) -> Callable:
    """The fields of `Asked`."""
    return with_options(function, label_options())


def drawing_options(noise_modes: Sequence[str] = tuple(NOISE_MODES)) -> Callable:
    """NETWORK, and the options of every command that draws: the fields of `Drawing`."""
    *first, last = (NOISE_MODES[mode] for mode in noise_modes)
    options = [
        network_argument,
        click.option(
            "--trunc",
            type=float,
            default=1.0,
            show_default=True,
            callback=finite,
            help="Truncation psi: 1 as trained, less for fewer odd images, 0 for the average "
            "image.",
        ),
        click.option(
            "--trunc-cutoff",
            type=click.IntRange(min=0),
            help="Truncate only this many leading layers.  [default: all]",
        ),
        *label_options(),
        click.option(
            "--noise-mode",
            type=click.Choice(noise_modes),
            default="const",
            show_default=True,
            help=f"Fine random detail: {', '.join(first)} or {last}. StyleGAN3 has none.",
        ),
        click.option(
            "--batch",
            type=click.IntRange(min=1),
            help="Images at once.  [default: by resolution and memory]",
        ),
        click.option(
            "--compile",
            is_flag=True,
            help="Use torch.compile: faster for many images, after half a minute.",
        ),
        device_option,
    ]
    return lambda function: with_options(function, options)
