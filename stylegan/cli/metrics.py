# SPDX-License-Identifier: Apache-2.0
"""`stylegan metrics`: figures of merit of a network."""

import contextlib
import json
import math
import time

import click

from stylegan.cli.outputs import output_file
from stylegan.cli.params import device_option, finite, network_argument
from stylegan.metrics import METRICS, Options

LIST = "\n".join(f"{name:<6}{metric.about}" for name, metric in METRICS.items())


class Names(click.ParamType):
    """Names of metrics: `eqt,eqr`."""

    name = "names"

    def convert(self, value, param, ctx):
        """`value` as a list without repetitions, in the order given."""
        if isinstance(value, list):
            return value
        names = list(dict.fromkeys(part.strip() for part in value.split(",")))
        for name in names:
            if name not in METRICS:
                self.fail(f"expected of {', '.join(METRICS)}, got {name!r}", param, ctx)
        return names


@click.command(epilog=f"\b\nMetrics:\n{LIST}")
@network_argument
@click.option("--metrics", "names", type=Names(), required=True, help="Which, as eqt,eqr.")
@click.option(
    "--samples", type=click.IntRange(min=1), help="How many pictures; default by metric, 1000."
)
@click.option(
    "--batch", type=click.IntRange(min=1), help="Pictures at once; default by resolution."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the draws."
)
@click.option(
    "--trunc",
    type=float,
    default=1.0,
    show_default=True,
    callback=finite,
    help="Truncation psi; figures are compared at 1.",
)
@device_option
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False),
    help="Write the figures to this file, too, with how they were measured.",
)
def command(network, names, samples, batch, seed, trunc, device, json_file):
    """Measure NETWORK: a run, a snapshot, NVIDIA's .pkl or rosinality's .pt.

    \b
    stylegan metrics runs/00000-photos --metrics eqt,eqr --samples 1000 --json metrics.json
    """
    from tqdm import tqdm

    import stylegan_ops
    from stylegan import __version__
    from stylegan.device import describe
    from stylegan.errors import UserError
    from stylegan.networks import load_networks

    stylegan_ops.tune_cpu_allocator()
    networks = load_networks(network, device)
    if networks.G_ema is None:
        raise UserError(network, "the snapshot has no G_ema.safetensors")
    results = []
    with contextlib.ExitStack() as stack:
        part = json_file and stack.enter_context(output_file(json_file, "--json"))
        for name in names:
            metric, start = METRICS[name], time.monotonic()
            count = samples or metric.samples
            with tqdm(total=count, unit="sample", desc=name, disable=None) as bar:
                options = Options(count, batch, seed, trunc, bar.update)
                values = metric.measure(networks, options)
            seconds = round(time.monotonic() - start, 1)
            for figure, value in values.items():
                click.echo(f"{figure:<10}{value:8.2f} {metric.unit}   {count:,} samples")
                number = value if math.isfinite(value) else str(value)
                results.append(
                    {
                        "name": figure,
                        "value": number,
                        "unit": metric.unit,
                        "samples": count,
                        "seconds": seconds,
                    }
                )
        if part:
            about = {
                "network": str(network),
                "kimg": networks.meta.get("kimg"),
                "trunc": trunc,
                "seed": seed,
                "device": describe(networks.device),
                "version": __version__,
            }
            part.write_text(json.dumps({**about, "metrics": results}, indent=1) + "\n", "utf-8")
