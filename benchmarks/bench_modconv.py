# SPDX-License-Identifier: Apache-2.0
"""modulated_conv2d over the layers of the 256 px network: strategies against the bare convolution.

"weights" scales the weights and runs one grouped convolution (a plain one at batch 1); "sandwich"
scales the image before and after a plain convolution with shared weights. "plan": what auto takes.
"""

import click
import torch
import torch.nn.functional as F
from common import report, time_ms, where

import stylegan_ops
from stylegan.device import resolve_device
from stylegan.models.layers import block_format, block_resolutions, channels_of
from stylegan.presets import preset
from stylegan_ops import _plan, modconv

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def layers(resolution, low):
    """(name, in channels, out channels, input size, up) of the 3x3 layers from `low` px on."""
    config = preset("auto", resolution=resolution).resolved().G
    for nominal in block_resolutions((resolution, resolution)):
        before, channels = channels_of(nominal // 2, config), channels_of(nominal, config)
        if nominal >= max(low, 8):
            yield f"{nominal} conv0", before, channels, nominal // 2, 2
            yield f"{nominal} conv1", channels, channels, nominal, 1


def run_layer(layer, batch, device, dtype, repeats):
    """A row: ms of forward, backward and double backward by strategy, and of the bare
    convolution."""
    name, c_in, c_out, size, up = layer
    layout = block_format(device, dtype)
    x = torch.randn(batch, c_in, size, size, device=device, dtype=dtype).to(memory_format=layout)
    weight, styles = (
        torch.randn(c_out, c_in, 3, 3, device=device),
        torch.rand(batch, c_in, device=device),
    )
    noise = torch.randn(batch, 1, size * up, size * up, device=device)
    bias = torch.zeros(c_out, device=device)
    f = stylegan_ops.setup_filter([1, 3, 3, 1]).to(device) if up > 1 else None
    leaves = [v.requires_grad_() for v in (x, weight, styles, noise, bias)]

    def forward():
        return stylegan_ops.modulated_conv2d(
            x,
            weight,
            styles,
            noise,
            up=up,
            padding=1,
            resample_filter=f,
            flip_weight=up == 1,
            bias=bias,
            act="lrelu",
            clamp=256,
        )

    def bare():
        w = weight.to(dtype)
        if up == 1:
            return F.conv2d(x, w, padding=1)
        return F.conv_transpose2d(x, w.transpose(0, 1), stride=2, padding=1, output_padding=1)

    chosen = _plan.modconv_strategy(x, weight)
    row = {"layer": name, "channels": f"{c_in}-{c_out}", "batch": batch, "plan": chosen}
    with torch.no_grad():
        row["bare conv"] = time_ms(bare, device, repeats)
    plan = modconv.modconv_strategy
    try:
        for strategy in ("weights", "sandwich"):
            modconv.modconv_strategy = lambda x, weight, s=strategy: s
            with torch.no_grad():
                row[f"{strategy} forward"] = time_ms(forward, device, repeats)
            dy = torch.randn_like(forward())
            row[f"{strategy} backward"] = time_ms(
                lambda y, dy=dy: torch.autograd.grad(y, leaves, dy), device, repeats, setup=forward
            )
            row[f"{strategy} double"] = time_ms(
                lambda dx: torch.autograd.grad(
                    dx.float().square().sum(), leaves[:3], allow_unused=True
                ),
                device,
                repeats,
                setup=lambda dy=dy: torch.autograd.grad(forward(), x, dy, create_graph=True)[0],
            )
    finally:
        modconv.modconv_strategy = plan
    taken, other = row[f"{chosen} forward"], row[f"{_other(chosen)} forward"]
    row["plan / bare"], row["other / plan"] = taken / row["bare conv"], other / taken
    return row


def _other(strategy):
    return "weights" if strategy == "sandwich" else "sandwich"


@click.command()
@click.option("--resolution", default=256)
@click.option("--low", default=16, help="Leave out layers below this resolution.")
@click.option("--batches", default="1,8")
@click.option("--dtype", type=click.Choice(list(DTYPES)), default="float32")
@click.option("--device", default="auto")
@click.option("--repeats", default=3)
@click.option("--out", help="Path without ending of the result files.")
def main(resolution, low, batches, dtype, device, repeats, out):
    """Print ms per layer, strategy and pass."""
    device = resolve_device(device)
    rows = []
    for batch in map(int, batches.split(",")):
        for layer in layers(resolution, low):
            rows.append(run_layer(layer, batch, device, DTYPES[dtype], repeats))
    report(f"modulated_conv2d {resolution} px {dtype}, ms", rows, where(device), out)


if __name__ == "__main__":
    main()
