# SPDX-License-Identifier: Apache-2.0
"""The cost of reading images: images/s per core by kind of file, and opening a large zip.

The images are made from those of the demo, so that they compress like real ones. Files are in the
page cache. One core is the main process; workers are loader processes.
"""

import io
import tempfile
import time
import zipfile
from pathlib import Path

import click
import torch
from harness.common import report, where
from PIL import Image

from stylegan.data.dataset import ImageDataset
from stylegan.data.loader import Batches
from stylegan.threads import cpu_count

CASES = {  # size of the files, format, mode, resolution to crop and resize to, container
    "64 px PNG, zip": ((64, 64), "PNG", "RGB", None, "zip"),
    "256 px PNG, zip": ((256, 256), "PNG", "RGB", None, "zip"),
    "256 px PNG RGBA, folder": ((256, 256), "PNG", "RGBA", None, "folder"),
    "256 px JPEG, folder": ((256, 256), "JPEG", "RGB", None, "folder"),
    "1024x768 JPEG to 256 px, folder": ((1024, 768), "JPEG", "RGB", (256, 256), "folder"),
}


def write(path, count, size, kind, mode, container):
    """Write `count` images, of 64 different ones, as a folder or a zip."""
    demo = ImageDataset("emoji")
    files = []
    for i in range(min(64, count)):
        image = Image.fromarray(demo.pixels(i * 48).transpose(1, 2, 0)).resize(size).convert(mode)
        if mode == "RGBA":
            image.putalpha(image.getchannel("R"))
        buffer = io.BytesIO()
        image.save(buffer, kind)
        files.append(buffer.getvalue())
    names = [f"{i // 1000:05d}/img{i:08d}.{kind.lower()}" for i in range(count)]
    if where == "zip":
        with zipfile.ZipFile(path, "w") as z:
            for i, name in enumerate(names):
                z.writestr(name, files[i % len(files)])
    else:
        for i, name in enumerate(names):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(files[i % len(files)])
    return path


def images_per_s(dataset, workers, seconds):
    """Batches of 32 for so long."""
    dataset._cache = None  # each image is decoded anew
    batches = Batches(dataset, 32, 0, True, 0, workers, pin_memory=False, warn=print)
    for _ in range(2):
        next(batches)
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        count += len(next(batches)[0])
    rate = count / (time.perf_counter() - begun)
    batches.close()
    return rate


def memory_mb():
    """Resident memory of this process in 10^6 bytes; 0 if the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * 4096 / 1e6


@click.command()
@click.option("--seconds", default=3.0, help="For each measurement.")
@click.option("--large", default=100_000, help="Images in the large zip.")
@click.option("--workers", default=0, help="Loader processes; 0: one per CPU.")
@click.option("--out", help="Path of the result files, without suffix.")
def main(seconds, large, workers, out):
    """Print both tables."""
    torch.set_num_threads(1)
    workers, machine, rows = workers or cpu_count(), where("cpu"), []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path = write(folder / "large.zip", large, (64, 64), "PNG", "RGB", "zip")
        before, begun = memory_mb(), time.perf_counter()
        dataset = ImageDataset(path)
        row = {
            "images": len(dataset),
            "opened in s": time.perf_counter() - begun,
            "MB more than before": memory_mb() - before,
            "MB in all": memory_mb(),
            "images/s on one core": images_per_s(dataset, 0, seconds),
        }
        report("Opening a large zip", [row], machine, out and f"{out}_open")
        for name, (size, kind, mode, resolution, container) in CASES.items():
            path = folder / f"{len(rows)}{'.zip' if container == 'zip' else ''}"
            dataset = ImageDataset(write(path, 512, size, kind, mode, container), resolution)
            one = images_per_s(dataset, 0, seconds)
            many = images_per_s(dataset, workers, seconds)
            rows.append(
                {
                    "files": name,
                    "images/s on one core": one,
                    "ms an image": 1e3 / one,
                    f"images/s, {workers} workers": many,
                    "per worker": many / workers,
                }
            )
    report("Reading images", rows, machine, out)


if __name__ == "__main__":
    main()
