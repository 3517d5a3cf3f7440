# SPDX-License-Identifier: Apache-2.0
"""`stylegan metrics`: how good a network is."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from stylegan.cli.drawing import Asked, asked_options
from stylegan.cli.outputs import check_free, output_file, overwrite_option
from stylegan.cli.params import Command, device_option, joined, network_argument
from stylegan.cli.provenance import made_by
from stylegan.cli.values import finite
from stylegan.metrics.registry import METRICS, Options

if TYPE_CHECKING:
    from stylegan.networks import Networks

LIST = "\n".join(f"{name:<6}{metric.about}" for name, metric in METRICS.items())


class Names(click.ParamType):
    """Names of metrics: `eqt,eqr`."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """`value` as a list without repetitions, in the order given."""
        if isinstance(value, list):
            return value
        names = list(dict.fromkeys(part.strip() for part in value.split(",")))
        for name in names:
            if name not in METRICS:
                self.fail(f"expected some of {', '.join(METRICS)}, got {name!r}", param, ctx)
        return names


@click.command(
    "metrics", cls=Command, short_help="Measure a network.", epilog=f"\b\nMetrics:\n{LIST}"
)
@network_argument
@click.option(
    "--metrics",
    "names",
    type=Names(),
    multiple=True,
    required=True,
    callback=joined,
    help="Names of metrics, eqt,eqr.",
)
@click.option(
    "--samples", type=click.IntRange(min=1), help="Number of images.  [default: by metric, 1000]"
)
@click.option(
    "--batch", type=click.IntRange(min=1), help="Images at once.  [default: by resolution]"
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of all random numbers.",
)
@click.option(
    "--trunc",
    type=float,
    default=1.0,
    show_default=True,
    callback=finite,
    help="Truncation psi; published results are measured at 1.",
)
@asked_options
@device_option
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False),
    help="Also write the results to this file, with how they were measured.",
)
@overwrite_option
def command(
    network: str,
    names: list[str],
    samples: int | None,
    batch: int | None,
    seed: int,
    trunc: float,
    device: str,
    json_file: str | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Measure NETWORK: a run, a snapshot, NVIDIA's .pkl or rosinality's .pt.

    \b
    stylegan metrics runs --metrics eqt,eqr --samples 1000 --json metrics.json
    stylegan metrics runs --metrics eqt --class dog --trunc 0.7
    """
    check_free([json_file] if json_file is not None else [], overwrite, "--json")
    import stylegan_ops
    from stylegan.errors import UserError
    from stylegan.inference.checks import generator_of
    from stylegan.networks import load_networks

    asked = Asked(**options)
    stylegan_ops.tune_cpu_allocator()
    networks = load_networks(network, device)
    if networks.best_G is None:
        raise UserError(network, "has no generator (G_ema or G)")
    generator_of(networks, asked.trunc_center)
    labels = asked.of(networks, network)
    results: list[Result] = []
    interrupted = None
    with contextlib.ExitStack() as stack:
        part = (
            stack.enter_context(output_file(json_file, "--json")) if json_file is not None else None
        )
        try:
            for name in dict.fromkeys(names):
                count = samples or METRICS[name].samples
                how = Options(count, batch, seed, trunc, asked.trunc_center, labels)
                results += _measure(name, networks, how)
        except KeyboardInterrupt as e:
            interrupted = e
        if interrupted and not results:
            raise interrupted
        if part:
            about = {**asked.about(networks, trunc), "seed": seed, "batch": batch}
            content = _circumstances(network, networks, about)
            content["metrics"] = [result.to_json() for result in results]
            part.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    if interrupted:
        raise interrupted


@dataclass(frozen=True)
class Result:
    """One measured number."""

    name: str
    value: float
    unit: str
    samples: int
    seconds: float  # of the metric, which may give several results

    def to_json(self) -> dict[str, Any]:
        """The fields; an infinite value as text, since JSON has no infinity."""
        value = self.value if math.isfinite(self.value) else str(self.value)
        return {**asdict(self), "value": value}


def _measure(name: str, networks: Networks, options: Options) -> list[Result]:
    """Measure and print the results of one metric."""
    from stylegan.bars import Bar

    metric, start = METRICS[name], time.monotonic()
    with Bar(total=options.samples, unit="sample", desc=name) as bar:
        values = metric.measure(networks, replace(options, progress=bar.update))
    seconds = round(time.monotonic() - start, 1)
    results = [Result(k, v, metric.unit, options.samples, seconds) for k, v in values.items()]
    for result in results:
        click.echo(
            f"{result.name:<10}{result.value:8.2f} {result.unit}   {result.samples:,} samples"
        )
    return results


def _circumstances(network: str, networks: Networks, options: Mapping[str, Any]) -> dict[str, Any]:
    """How the network was measured."""
    from stylegan.device import describe, resolve_device

    device = describe(resolve_device(networks.device))
    return made_by("metrics", network, networks, {**options, "device": device})
