# SPDX-License-Identifier: Apache-2.0
"""`stylegan info`: what a network, another program's checkpoint or a data set is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from os.path import exists
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stylegan.cli.checkpoint_info import checkpoint_rows, layers, training_rows
from stylegan.cli.outputs import check_free, overwrite_option
from stylegan.cli.params import Command, like_option, make_folder, range_option
from stylegan.words import printable

if TYPE_CHECKING:
    from stylegan.data.pixels.ranges import DeepImages
    from stylegan.data.source import Problem, Source
    from stylegan.networks import Networks

MAX_OPENED = 2000  # images that are opened for their size and channels
MAX_SIZES = 6  # that are listed, the most common ones
THUMBS, THUMB = 96, 96  # pictures on the contact sheet, and their side in px


@click.command("info", cls=Command, short_help="Describe a network, a run or a data set.")
@click.argument("path", metavar="NETWORK|DATASET", type=click.Path(), required=False)
@like_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False),
    metavar="PNG",
    help="File for the contact sheet of a data set. Default: <its name>-sheet.png in this folder.",
)
@range_option
@click.option("--no-sheet", is_flag=True, help="No contact sheet.")
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
    value_range: tuple[float, float] | None,
    no_sheet: bool,
    zip_encoding: str | None,
    overwrite: bool,
) -> None:
    """Describe a network or a data set.

    A network is a run or snapshot folder, NVIDIA's .pkl or rosinality's .pt; no code in a file is
    run. Of a data set, a folder, zip or tar of images, it shows how many there are, their sizes,
    channels and labels, and a contact sheet of some.

    Without a path: the embedded emoji. "faces" is the other embedded data set.

    \b
    stylegan info runs
    stylegan info ffhq.pkl
    stylegan info photos.zip
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
    if sheet:
        if Path(sheet).suffix.lower() != ".png":
            raise click.BadParameter(
                f"expected a name that ends in .png, got {sheet}", param_hint="--sheet"
            )
        check_free([sheet], overwrite, "--sheet")
        make_folder(Path(sheet).parent, "--sheet")
    rows: dict[str, Any]
    if path and (is_run(path) or is_network_folder(path)):
        rows = _network(path)
    elif path and (is_checkpoint(path) or _is_named_checkpoint(path)):
        rows = checkpoint_rows(path)
    else:
        given = click.get_current_context().get_parameter_source("like")
        if given is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--like is for networks; {path or 'emoji'} is a data set")
        how = SheetOptions(sheet, not no_sheet, overwrite)
        rows = _dataset(path, how, zip_encoding, value_range)
    if sheet and "sheet" not in rows:
        raise click.UsageError(f"--sheet is for data sets; {path} is a network")
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    width = max(map(len, rows)) + 2
    for name, value in rows.items():
        lines = value if isinstance(value, list) and name in ("notes", "problems") else [value]
        for i, line in enumerate(lines):
            line = ", ".join(line) if isinstance(line, list) else line
            click.echo(f"{'' if i else name:{width}}{printable(line)}")


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
        rows["trained"] = f"{nets.meta['kimg']:g} kimg"
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


@dataclass(frozen=True)
class SheetOptions:
    """What the options say of the contact sheet."""

    path: str | None
    wanted: bool
    overwrite: bool


def _dataset(
    path: str | None,
    sheet: SheetOptions,
    encoding: str | None,
    value_range: tuple[float, float] | None,
) -> dict[str, Any]:
    from stylegan.data.decode import KINDS
    from stylegan.data.made import read_made
    from stylegan.data.source import DEFAULT_DEMO, open_source
    from stylegan.data.survey import deep_images, images_in, other_files, range_notes, survey

    source = open_source(DEFAULT_DEMO if path is None else path, encoding)
    files = images_in(source)
    seen = survey(source, files, MAX_OPENED)
    some = "" if seen.opened == len(files) else f" (of {seen.opened:,} looked at)"
    rows: dict[str, Any] = {"path": str(source.path), "images": f"{len(files):,}"}
    sizes = [f"{w}x{h} px ({n:,})" for (h, w), n in seen.sizes.most_common(MAX_SIZES)]
    more = len(seen.sizes) - MAX_SIZES
    rows["sizes"] = ", ".join([*sizes, *([f"{more} more"] if more > 0 else [])]) + some
    kinds = [f"{KINDS[c]} ({n:,})" for c, n in seen.channels.most_common()]
    rows["channels"] = f"{', '.join(kinds)}{some}; trains as {KINDS[seen.common_channels]}"
    deep = deep_images(source, files, value_range)
    if deep:
        rows["values"] = str(deep)
    made = read_made(source)
    if made:
        rows["made"] = made
    others = other_files(source, files)
    if others.endings:
        rows["no images"] = str(others)
    problems = [*source.problems, *others.archives, *seen.failures]
    labels, notes, unfit = _labels(source, files)
    rows |= labels
    notes = [*notes, *range_notes(deep, value_range), *seen.notes()]
    problems += unfit
    if sheet.wanted:
        out = Path(sheet.path or f"{source.path.stem}-sheet.png")
        rows["sheet"], broken = _sheet(source, files, out, sheet.overwrite, deep)
        problems += [problem for problem in broken if problem not in problems]
    if notes:
        rows["notes"] = notes
    if problems:
        rows["problems"] = [str(problem) for problem in problems]
    return rows


def _labels(source: Source, files: list[str]) -> tuple[dict[str, Any], list[str], list[Problem]]:
    """The row on labels; notes; and files that labels do not fit."""
    from stylegan.data.label_file import read_labels
    from stylegan.data.labels import empty_classes
    from stylegan.data.source import Problem
    from stylegan.errors import UserError

    try:
        found = read_labels(source, files)
    except UserError as e:
        return {"labels": "not usable"}, list(source.notes), [Problem(str(e.subject), e.why)]
    labels, notes = found.labels, [*source.notes, *found.notes]
    problems = [Problem(name, "has no label in dataset.json") for name in found.unlabelled]
    problems += [Problem(name, "has a label, but does not exist") for name in found.missing]
    if not labels:
        return {"labels": "none"}, notes, problems
    if not labels.names:
        of = f" ({', '.join(labels.attributes)})" if labels.attributes else ""
        return {"labels": f"vectors of {labels.c_dim} numbers{of}"}, notes, problems
    empty = empty_classes(labels)
    counts = zip(labels.names, labels.class_counts)
    classes = [f"{name} ({count:,})" for name, count in counts]
    return {"classes": classes}, [*notes, *([empty] if empty else [])], problems


def _sheet(
    source: Source, files: list[str], path: Path, overwrite: bool, values: DeepImages | None
) -> tuple[str, list[Problem]]:
    """Write the contact sheet. Returns: its path, or why there is none; and files not on it."""
    from PIL import Image, ImageOps

    from stylegan.data import decode
    from stylegan.data.source import Problem
    from stylegan.errors import UserError, reason_for
    from stylegan.imaging import grid, on_checkerboard, save_image

    try:
        check_free([path], overwrite, "--sheet")
    except UserError as e:  # the rest of the description is still of use
        return str(e), []
    cells: list[Image.Image] = []
    broken: list[Problem] = []
    cell = (THUMB, THUMB)
    for name in files[:: max(len(files) // THUMBS, 1)][:THUMBS]:
        try:
            data = source.read(name)
            if values and not values.chosen:  # each image by a range of its own
                image = decode.open_image(data, name)
            else:
                pair = values.chosen.pair if values and values.chosen else None
                image = decode.read_image(data, name, pair).image
            pixels = decode.to_pixels(image, 4)
        except (UserError, ValueError, OSError) as e:
            broken.append(Problem(name, reason_for(e, name)))
            continue
        thumb = ImageOps.contain(Image.fromarray(pixels.transpose(1, 2, 0)), cell)
        background = Image.new("RGBA", cell)
        background.paste(thumb, ((THUMB - thumb.width) // 2, (THUMB - thumb.height) // 2))
        cells.append(background)
    if not cells:
        return "none of the images looked at can be read", broken
    try:
        save_image(on_checkerboard(grid(cells, 12)), path)
    except OSError as e:
        return f"{path}: cannot be written ({e.strerror})", broken
    return str(path), broken
