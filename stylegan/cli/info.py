# SPDX-License-Identifier: Apache-2.0
"""`stylegan info`: what a network or a data set is."""

import json
from pathlib import Path

import click


@click.command()
@click.argument("path", metavar="NETWORK|DATASET", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(path, as_json):
    """Describe a network (run or snapshot folder) or a data set (folder or zip of images).

    Without a path: the embedded demo images.

    \b
    stylegan info runs/00000-photos
    stylegan info photos.zip
    """
    from stylegan.networks import CONFIG, snapshots_of

    is_network = path and (snapshots_of(path) or (Path(path) / CONFIG).is_file())
    rows = _network(path) if is_network else _dataset(path)
    if as_json:
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    width = max(map(len, rows)) + 2
    for name, value in rows.items():
        click.echo(f"{name:{width}}{value if not isinstance(value, list) else ', '.join(value)}")


def _network(path):
    from stylegan.networks import load_networks

    nets = load_networks(path, "cpu")
    config, dataset = nets.config, nets.meta.get("dataset", {})
    height, width = config.G.resolution
    rows = {"snapshot": str(nets.folder), "trained": f"{nets.meta.get('kimg', 0):g} kimg"}
    rows["images"] = f"{width}x{height} px, {config.G.channels} channels"
    for name in ("G_ema", "G", "D"):
        network = getattr(nets, name)
        count = sum(p.numel() for p in network.parameters()) if network is not None else 0
        rows[name] = f"{count:,} parameters" if network is not None else "not in the snapshot"
    rows["architecture"] = f"G {config.G.architecture}, D {config.D.architecture}"
    rows["latents"] = f"z {config.G.z_dim}, w {config.G.w_dim}, {nets.G_ema.num_ws} ws"
    rows["data"] = f"{dataset.get('name')}, {dataset.get('images')} images"
    rows["classes"] = list(nets.class_names) or "none"
    return rows


def _dataset(path):
    import numpy as np

    from stylegan.data.dataset import ImageDataset

    data = ImageDataset(path)
    height, width = data.resolution
    rows = {
        "path": str(data.path),
        "images": f"{len(data):,}",
        "first image": f"{width}x{height} px, {data.channels} channels",
    }
    if not data.labels:
        rows["labels"] = "none"
    elif not data.class_names:
        rows["labels"] = f"vectors of {data.c_dim} numbers"
    else:
        counts = np.bincount(data.labels.values, minlength=data.c_dim)
        rows["classes"] = [f"{name} ({n:,})" for name, n in zip(data.class_names, counts)]
    return rows
