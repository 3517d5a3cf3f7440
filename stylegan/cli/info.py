# SPDX-License-Identifier: Apache-2.0
"""`stylegan info`: what a network, another program's checkpoint or a data set is."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator
from os.path import exists
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stylegan.cli.checkpoint_info import checkpoint_rows, layers, training_rows
from stylegan.cli.dataset_info import Wanted, describe
from stylegan.cli.outputs import check_free, overwrite_option
from stylegan.cli.params import Command, like_option, make_folder, range_option
from stylegan.cli.pictures import captions_option
from stylegan.words import printable, short

if TYPE_CHECKING:
    from stylegan.networks import Networks

MAX_CLASSES = 100  # that are listed; --json has all
MIN_ROOM = 24  # characters of a line; on a narrower terminal the lines are left alone


@click.command("info", cls=Command, short_help="Describe a network, a run or a data set.")
@click.argument("path", metavar="NETWORK|DATASET", type=click.Path(), required=False)
@like_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False),
    metavar="PNG",
    help="Draw a contact sheet of a data set into this file, with every class.",
)
@captions_option("Write the classes, or the names of the files, on the sheet.")
@range_option
@click.option("--no-sheet", is_flag=True, hidden=True)  # what happens anyway; old scripts have it
@click.option(
    "--max-images",
    type=click.IntRange(min=1),
    help="Look at this many images of a data set, evenly spaced.  [default: all]",
)
@click.option(
    "--zip-encoding",
    metavar="NAME",
    help="Encoding of file names in a data set that are not marked as UTF-8: gbk, shift_jis, "
    "cp437. Default: a guess.",
)
@overwrite_option
def command(
    path: str | None,
    as_json: bool,
    sheet: str | None,
    captions: bool,
    value_range: tuple[float, float] | None,
    no_sheet: bool,
    max_images: int | None,
    zip_encoding: str | None,
    overwrite: bool,
) -> None:
    """Describe a network or a data set.

    A network is a run or snapshot folder, NVIDIA's .pkl or rosinality's .pt; no code in a file is
    run. Of a data set, a folder, zip or tar of images, it shows how many there are, their sizes,
    channels and labels, and which files cannot be used. It reads all of them; Ctrl-C shows what was
    found until then.

    Without a path: the embedded faces. "emoji" is the other embedded data set.

    \b
    stylegan info runs
    stylegan info ffhq.pkl
    stylegan info photos.zip --sheet photos.png --captions
    """
    from stylegan.checkpoints.recognise import SUFFIXES, is_checkpoint
    from stylegan.data.source import is_embedded
    from stylegan.errors import UserError
    from stylegan.identify import is_address, not_a_network
    from stylegan.runs.folder import is_run
    from stylegan.snapshots import is_network_folder, snapshot_around

    path = path and str(snapshot_around(path) or path)
    if path and Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
        raise click.UsageError(f"{path}: neither a file nor a folder")
    if path and not (Path(path).suffix or exists(path) or is_address(path) or is_embedded(path)):
        raise UserError(path, "there is no such folder or file; check the path")
    if path and not Path(path).exists() and Path(path).suffix.lower() in SUFFIXES:
        raise UserError(path, not_a_network(path))
    if sheet and no_sheet:
        raise click.UsageError("--sheet does not go with --no-sheet")
    if captions and not sheet:
        raise click.UsageError("--captions goes with --sheet, which draws a contact sheet")
    if sheet:
        if Path(sheet).suffix.lower() != ".png":
            raise click.BadParameter(
                f"expected a name that ends in .png, got {sheet}", param_hint="--sheet"
            )
        check_free([sheet], overwrite, "--sheet")
        make_folder(Path(sheet).parent, "--sheet")
    rows: dict[str, Any]
    interrupted: KeyboardInterrupt | None = None
    if path and (is_run(path) or is_network_folder(path)):
        rows = _network(path)
    elif path and (is_checkpoint(path) or _is_named_checkpoint(path)):
        rows = checkpoint_rows(path)
    else:
        given = click.get_current_context().get_parameter_source("like")
        if given is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--like is for networks; {path or 'faces'} is a data set")
        wanted = Wanted(
            Path(sheet) if sheet else None, captions, max_images, zip_encoding, value_range
        )
        found = describe(path, wanted)
        rows, interrupted = found.rows, found.interrupted
        sheet = max_images = None
    if sheet or max_images:
        option = "--sheet" if sheet else "--max-images"
        raise click.UsageError(f"{option} is for data sets; {path} is a network")
    click.echo(json.dumps(rows, indent=1) if as_json else "\n".join(_lines(rows)))
    if interrupted:
        raise interrupted


def _lines(rows: dict[str, Any]) -> Iterator[str]:
    """The rows as text. On a terminal long values go on below themselves."""
    width = max(map(len, rows)) + 2
    room = 0
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - width
    for name, value in rows.items():
        values = value if isinstance(value, list) and name in ("notes", "problems") else [value]
        for i, line in enumerate(values):
            if isinstance(line, list):
                more = len(line) - MAX_CLASSES
                line = ", ".join([*line[:MAX_CLASSES], *([f"{more:,} more"] if more > 0 else [])])
            line = printable(line)
            parts = [line]
            if room >= MIN_ROOM:
                parts = textwrap.wrap(line, room, break_long_words=False, break_on_hyphens=False)
            for j, part in enumerate(parts or [""]):
                yield f"{'' if i or j else name:{width}}{part}"


def _is_named_checkpoint(path: str) -> bool:
    """Whether a file that is neither a network nor images has the name of a network."""
    from stylegan.checkpoints.recognise import SUFFIXES
    from stylegan.identify import Role, identify

    kind = identify(path)
    return Path(path).suffix.lower() in SUFFIXES and (kind is None or kind.role is Role.NEITHER)


def _network(path: str) -> dict[str, Any]:
    from stylegan.errors import SnapshotError
    from stylegan.networks import load_networks

    nets = load_networks(path, "cpu")
    config, dataset = nets.config, nets.meta.get("dataset", {})
    height, width = config.G.resolution
    rows: dict[str, Any] = {"snapshot": str(nets.folder)}
    source = nets.meta.get("source")
    if source:
        rows["from"] = f"{source.get('file')} ({source.get('format')})"
    if "kimg" in nets.meta:
        rows["trained"] = f"{short(nets.meta['kimg'])} kimg"
    rows["images"] = f"{width}x{height} px, {config.G.channels} channels"
    for name in ("G_ema", "G", "D"):
        try:
            network = getattr(nets, name)
        except SnapshotError as e:
            if name == "G_ema":
                raise
            rows[name] = f"cannot be read: {e.why}"
            continue
        count = sum(p.numel() for p in network.parameters()) if network is not None else 0
        rows[name] = f"{count:,} parameters" if network is not None else "not in the snapshot"
    rows["architecture"] = f"{config.G.title}; D {config.D.architecture}"
    rows["layers"] = layers(config.G)
    rows["latents"] = f"z {config.G.z_dim}, w {config.G.w_dim}, {nets.best_G.num_ws} ws"
    if source:
        rows |= training_rows(nets.meta)
    else:
        rows["data"] = f"{dataset.get('name')}, {dataset.get('images')} images"
    if nets.label_names:
        rows["labels"] = list(nets.label_names)
    rows["classes"] = list(nets.class_names) or _unnamed_classes(nets)
    unlearned = [name for name, n in zip(nets.class_names, nets.class_counts) if not n]
    if unlearned:
        rows["no images"] = unlearned
    if source:
        rows["sha256"] = str(source.get("sha256"))
    return rows


def _unnamed_classes(nets: Networks) -> str:
    from stylegan.inference.labels import LabelSpace

    space = LabelSpace.of(nets, nets.config.G.c_dim)
    if not space.c_dim:
        return "none"
    if space.has_classes:
        return f"{space.c_dim}, by number"
    known = 0 if space.vectors is None else len(space.vectors)
    return f"none; labels are lists of {space.c_dim} numbers, {known:,} of them are kept"
