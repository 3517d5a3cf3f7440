# SPDX-License-Identifier: Apache-2.0
"""A run: steps, the log, sample grids and snapshots."""

import time

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from stylegan.data.dataset import ImageStream
from stylegan.errors import UserError
from stylegan.imaging import grid, save_image, to_pil, to_tensor
from stylegan.networks import Networks, load_networks
from stylegan.training.checkpoint import read_state, write_snapshot
from stylegan.training.log import RunLog
from stylegan.training.memory import peak_memory_gb
from stylegan.training.step import TrainingStep

TICK_SECONDS = 60  # a line in the log at least this often, however slow the machine


class Trainer:
    """One run in one folder.

    Args:
        config: a resolved `Config` that fits the data set (`stylegan.training.setup.fit_to_data`).
        dataset: an `ImageDataset`.
        device: torch.device.
        run_dir: an existing folder for log.jsonl, samples/ and snapshots/; may be set later, before
            `run`.
    """

    def __init__(self, config, dataset, device, run_dir=None):
        self.config, self.dataset, self.device, self.run_dir = config, dataset, device, run_dir
        labels = dataset.labels.values if config.G.c_dim else None
        self.model = TrainingStep(config, device, labels)
        self.seconds, self.late = 0.0, False
        self._grid_z, self._grid_c, self._columns = self._grid_latents()

    def resume(self, snapshot):
        """Go on from a snapshot folder.

        Raises: UserError if it lacks what training needs, or the data set does not fit it.
        """
        state = read_state(snapshot)
        saved = load_networks(snapshot, self.device)
        for name in ("resolution", "channels", "c_dim"):
            was, now = getattr(saved.config.G, name), getattr(self.config.G, name)
            if was != now:
                raise UserError(f"{snapshot}: has {name} {was}, but the data set has {now}")
        for name in ("G", "D", "G_ema"):
            network = getattr(saved, name)
            if network is None:
                raise UserError(f"{snapshot}: holds no {name}, so training cannot go on from it")
            getattr(self.model, name).load_state_dict(network.state_dict())
        self.model.load_state_dict(state["step"])
        self.seconds = state["seconds"]

    @property
    def kimg(self):
        """Thousands of real images shown so far."""
        return self.model.images_seen / 1000

    def run(self):
        """Train until config.train.kimg or config.train.minutes; returns the last snapshot's
        folder."""
        t, seen, end = self.config.train, self.model.images_seen, _images(self.config.train.kimg)
        log = RunLog(self.run_dir, seen)
        due = {
            name: self._next(getattr(t, f"{name}_kimg")) for name in ("tick", "grid", "snapshot")
        }
        if not seen:
            due["tick"] = 0  # the first step shows at once that all is well
            self.save_real_grid()
            self.save_grid()
        batches, begun, earlier = self._batches(), time.monotonic(), self.seconds
        tick_time, tick_images = begun, seen
        done, snapshot = seen >= end, None
        with self._bar() as bar:
            while not done:
                pixels, c = next(batches)
                self.model.step(to_tensor(pixels, self.device), self._labels(c))
                bar.update(t.batch)
                now = time.monotonic()
                self.seconds = earlier + now - begun
                self.late = t.minutes is not None and now - begun >= t.minutes * 60
                seen = self.model.images_seen
                done = seen >= end or self.late
                if done or seen >= due["tick"] or now - tick_time >= TICK_SECONDS:
                    rate = (seen - tick_images) / (now - tick_time)
                    means = self._tick(log, rate)
                    bar.set_postfix_str(f"G {means['loss/G']:.2f} D {means['loss/D']:.2f}")
                    due["tick"] = self._next(t.tick_kimg)
                    tick_time, tick_images = now, seen
                if done or seen >= due["grid"]:
                    self.save_grid()
                    due["grid"] = self._next(t.grid_kimg)
                if done or seen >= due["snapshot"]:
                    snapshot = self.save_snapshot()
                    due["snapshot"] = self._next(t.snapshot_kimg)
        log.close()
        return snapshot

    def save_snapshot(self):
        """Write the networks and the state of training; returns the folder."""
        m, data = self.model, self.dataset
        meta = {
            "kimg": self.kimg,
            "dataset": {
                "name": data.name,
                "images": len(data),
                "class_names": list(data.class_names),
            },
        }
        networks = Networks(self.config, meta, G_ema=m.G_ema, G=m.G, D=m.D)
        state = {"step": m.state_dict(), "seconds": self.seconds}
        return write_snapshot(self.run_dir, networks, state)

    @torch.no_grad()
    def save_grid(self):
        """Images of the averaged generator at fixed latents, as samples/<kimg>.png."""
        images, n = [], self.config.train.batch_gpu
        for start in range(0, len(self._grid_z), n):
            part = slice(start, start + n)
            c = None if self._grid_c is None else self._grid_c[part]
            images += to_pil(self.model.G_ema(self._grid_z[part], c))
        self._save_sheet(images, f"{self.kimg:010.3f}.png")

    def save_real_grid(self):
        """Real images in the layout of the sample grids, as samples/reals.png."""
        count = min(len(self._grid_z), len(self.dataset))
        picks = ImageStream(len(self.dataset), self.config.train.seed).epoch(0)[0][:count]
        pixels = torch.stack([self.dataset[i][0] for i in picks])
        self._save_sheet(to_pil(to_tensor(pixels, "cpu")), "reals.png")

    def _save_sheet(self, images, name):
        folder = self.run_dir / "samples"
        folder.mkdir(exist_ok=True)
        save_image(grid(images, self._columns), folder / name)

    def _grid_latents(self):
        """z and c of the sample grid, one class per row where there are classes, and its
        columns."""
        height, width = self.config.G.resolution
        columns, rows = min(max(1280 // width, 4), 12), min(max(960 // height, 3), 8)
        rng = torch.Generator().manual_seed(self.config.train.seed)
        z = torch.randn(rows * columns, self.config.G.z_dim, generator=rng).to(self.device)
        if not self.config.G.c_dim:
            return z, None, columns
        if self.dataset.class_names:
            number = torch.arange(len(z)) // columns % self.config.G.c_dim
            c = torch.eye(self.config.G.c_dim)[number]
        else:
            pick = torch.randint(len(self.dataset), [len(z)], generator=rng)
            c = torch.from_numpy(self.dataset.labels.vectors(pick.numpy()))
        return z, c.to(self.device), columns

    def _loader(self):
        data, t = self.config.data, self.config.train
        start = self.model.images_seen
        return DataLoader(
            self.dataset,
            batch_size=t.batch,
            sampler=ImageStream(len(self.dataset), t.seed, data.mirror, start),
            num_workers=data.workers,
            persistent_workers=data.workers > 0,
            pin_memory=self.device.type == "cuda",
        )

    def _batches(self):
        try:
            yield from self._loader()
        except UserError as e:
            # From a loader process it comes wrapped in the text of its traceback.
            raise UserError(str(e).rpartition("UserError: ")[2].strip()) from e

    def _labels(self, c):
        return c.to(self.device, non_blocking=True) if self.config.D.c_dim else None

    def _bar(self):
        batch = self.config.train.batch
        return _Bar(
            total=-(-_images(self.config.train.kimg) // batch) * batch,
            initial=self.model.images_seen,
            unit="img",
            desc="train",
            mininterval=1,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {kimg} "
            "[{elapsed}<{remaining}, {rate_fmt}{postfix}]",
        )

    def _next(self, interval):
        """Images seen when something that happens every `interval` kimg is due next."""
        every = _images(interval)
        return (self.model.images_seen // every + 1) * every

    def _tick(self, log, rate):
        means = self.model.stats.take()
        line = {"kimg": self.kimg, "seconds": self.seconds, "images_per_s": rate}
        line["memory_gb"] = peak_memory_gb(self.device)
        log.write({**line, **means, "pl_mean": float(self.model.pl_mean)})
        return means


class _Bar(tqdm):
    """Counts images, shows kimg."""

    @property
    def format_dict(self):
        d = super().format_dict
        return {**d, "kimg": f"{d['n'] / 1000:.1f}/{d['total'] / 1000:g} kimg"}


def _images(kimg):
    return max(round(kimg * 1000), 1)
