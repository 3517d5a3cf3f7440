# SPDX-License-Identifier: Apache-2.0
"""`stylegan convert`: networks from one format to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stylegan.cli.outputs import check_free, output_file, output_folder, overwrite_option
from stylegan.cli.params import Command, check_folder, check_network, like_option
from stylegan.errors import UserError

if TYPE_CHECKING:
    from stylegan.networks import Networks

KINDS = {
    "snapshot": "a folder of safetensors and JSON, for every other command",
    "rosinality": "a .pt for rosinality's programs, pSp, e4e: g_ema, latent_avg, g, d",
    "nvidia": "a .pkl in NVIDIA's layout without code, for its stylegan3 programs",
    "safetensors": "every tensor of the file under its own name, also of unsupported networks",
}
BY_SUFFIX = {
    "": "snapshot",
    ".pt": "rosinality",
    ".pth": "rosinality",
    ".pkl": "nvidia",
    ".safetensors": "safetensors",
}


@click.command("convert", cls=Command, short_help="Convert networks between file formats.")
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("out", metavar="OUT", type=click.Path())
@click.option(
    "--to",
    type=click.Choice(list(KINDS)),
    help="Format of OUT, by default from its suffix; without a suffix, a snapshot. "
    + "; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
    + ".",
)
@overwrite_option
@like_option
def command(source: str, out: str, to: str | None, overwrite: bool) -> None:
    """Convert the networks of IN to another format.

    IN is a run, a snapshot, NVIDIA's .pkl (PyTorch or TensorFlow) or rosinality's .pt. Nothing in a
    file is run.

    \b
    stylegan convert ffhq.pkl ffhq             a snapshot folder, for every other command
    stylegan convert runs a.pt                 for rosinality's programs, pSp, e4e
    stylegan convert runs a.pkl                NVIDIA's layout, without code
    """
    check_network(source)
    kind = to or BY_SUFFIX.get(Path(out).suffix.lower())
    if kind is None:
        wanted = ", ".join(suffix for suffix in BY_SUFFIX if suffix)
        raise click.BadParameter(
            f"{out}: expected a folder or a file {wanted}, or an option --to",
            param_hint="OUT",
        )
    _check_out(Path(source), Path(out), kind, overwrite)
    check_folder(Path(out).parent, "OUT")
    convert = {"snapshot": _snapshot, "safetensors": _tensors}.get(kind, _foreign)
    for line in convert(source, Path(out), kind):
        click.echo(line)


def _check_out(source: Path, out: Path, kind: str, overwrite: bool) -> None:
    """Raises: UserError if something is at `out` that may not be replaced."""
    from stylegan.snapshot_files import WRITTEN

    folder = out.is_dir()
    if kind == "snapshot" and folder and not any(out.iterdir()):
        return
    if not out.exists():
        return check_free([out], overwrite)  # a link to nothing
    here, there = source.resolve(), out.resolve()
    if there in (here, *here.parents):
        raise UserError(out, f"holds the source, {source}, and is not replaced")
    if folder != (kind == "snapshot"):
        raise UserError(out, f"is a {'folder' if folder else 'file'}; not replaced")
    if folder and not {p.name for p in out.iterdir()} <= WRITTEN:
        raise UserError(out, "holds other files than a converted snapshot; not replaced")
    check_free([out], overwrite)


def _load(source: str) -> Networks:
    from stylegan.checkpoints.open import sha256
    from stylegan.networks import load_networks

    nets = load_networks(source, "cpu")
    if nets.best_G is None:
        raise UserError(source, "has no generator (G_ema or G)")
    if nets.checkpoint is not None:
        nets.meta["source"]["sha256"] = sha256(source)
    return nets.with_G_ema()


def _snapshot(source: str, out: Path, kind: str) -> list[str]:
    nets = _load(source)
    with output_folder(out, "OUT", out.is_dir(), "config.json") as part:
        nets.save(part)
    names = [name for name in ("G_ema", "G", "D") if getattr(nets, name) is not None]
    lines = [f"{out}: {', '.join(names)}; {nets.config.G.title}, {_size(nets)}"]
    return lines + _missing(nets)


def _foreign(source: str, out: Path, kind: str) -> list[str]:
    from stylegan.checkpoints.nvidia import writer as nvidia_writer
    from stylegan.checkpoints.rosinality import writer as rosinality_writer

    nets = _load(source)
    with output_file(out, "OUT") as part:
        lines = (nvidia_writer if kind == "nvidia" else rosinality_writer).write(nets, part)
    lines = [f"{out}: {nets.config.G.title}, {_size(nets)}", *(f"  {line}" for line in lines)]
    return lines + _lost_labels(nets) + _missing(nets)


def _lost_labels(nets: Networks) -> list[str]:
    """Lines on what the formats of other programs do not hold about labels."""
    if not nets.config.G.c_dim:
        return []
    if nets.label_vectors is not None:
        return ["  it does not contain the labels of training images: draw with --label"]
    named = list(nets.class_names) != [str(i) for i in range(len(nets.class_names))]
    return ["  it does not contain the names of the classes: --class takes numbers"] * named


def _tensors(source: str, out: Path, kind: str) -> list[str]:
    from safetensors.torch import save_file

    from stylegan.checkpoints.open import open_checkpoint
    from stylegan.networks import load_networks

    metadata = {"format": "pt"}
    if Path(source).is_file():
        checkpoint = open_checkpoint(source)
        metadata |= {"source": checkpoint.format, "family": checkpoint.family}
        parts = checkpoint.stored
        tensors = {
            f"{n}.{k}": a.read().contiguous() for n, p in parts.items() for k, a in p.items()
        }
    else:
        nets = load_networks(source, "cpu")
        parts = {n: getattr(nets, n) for n in ("G_ema", "G", "D")}
        parts = {n: net.state_dict() for n, net in parts.items() if net is not None}
        tensors = {f"{n}.{k}": v.contiguous() for n, p in parts.items() for k, v in p.items()}
    with output_file(out, "OUT") as part:
        save_file(tensors, part, metadata)
    return [f"{out}: {len(tensors):,} tensors of {', '.join(parts)}"]


def _missing(nets: Networks) -> list[str]:
    """Lines on networks of the file that OUT lacks, and on one that stands for another."""
    unbuilt = nets.checkpoint.unbuilt if nets.checkpoint else {}
    lines = [f"  left out: {name}, which cannot be built here" for name in unbuilt]
    return lines + ["  G_ema is a copy of G"] * (nets.G_ema is nets.G)


def _size(nets: Networks) -> str:
    height, width = nets.config.G.resolution
    return f"{width}x{height} px, {nets.config.G.channels} channels"
