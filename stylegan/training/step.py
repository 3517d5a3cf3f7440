# SPDX-License-Identifier: Apache-2.0
"""One training step."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from stylegan.config import Config
from stylegan.models.build import build_discriminator, build_generator
from stylegan.models.precision import check_default_dtype
from stylegan.training import losses
from stylegan.training.augment.choice import augmentation_of
from stylegan.training.blur import blur, blur_sigma
from stylegan.training.ema import ema_beta, update_ema
from stylegan.training.freeze import frozen_parts
from stylegan.training.guards import Finite, first_nonfinite
from stylegan.training.stats import Stats


class TrainingStep:
    """The networks, their optimizers and random numbers, and the step that updates them.

    Args:
        config: a resolved `Config`.
        device: where to train.
        labels: of the images, from which generated images draw theirs: int64 [images] class numbers
            or float32 [images, c_dim] vectors. None if c_dim is 0.
    Raises: UserError if PyTorch's default dtype is of half precision.
    """

    def __init__(self, config: Config, device: torch.device, labels: Any = None) -> None:
        check_default_dtype()
        self.config, self.device = config, device
        t = config.train
        torch.manual_seed(t.seed)
        self.G = build_generator(config.G).to(device).requires_grad_(False)
        self.D = build_discriminator(config.D).to(device).requires_grad_(False)
        self.G_ema = copy.deepcopy(self.G).eval()
        self.frozen = frozen_parts(config)
        self.trained = {name: self.frozen.trained(getattr(self, name), name) for name in ("G", "D")}
        self.G_opt = _adam(self.trained["G"], t.g_lr, t.pl_interval if t.pl_weight else None)
        self.D_opt = _adam(self.trained["D"], t.d_lr, t.r1_interval if t.r1_gamma else None)
        self.labels: Any = None if labels is None else torch.as_tensor(labels, device=device)
        self.rng = torch.Generator(device).manual_seed(t.seed + 1)
        self.augment = augmentation_of(t, device, self.rng)
        self.pl_mean = torch.zeros([], device=device)
        self.images_seen, self.steps = 0, 0
        self.stats, self.finite = Stats(), Finite({"G": self.G, "D": self.D}, device)

    def step(self, reals: torch.Tensor, c: torch.Tensor | None = None) -> None:
        """G main, (G path length), D main, (D R1), average of G, probability of augmentation.

        Args:
            reals: [batch, channels, H, W] in [-1, 1], on the device.
            c: [batch, c_dim] labels of reals, or None.
        """
        t = self.config.train
        self.g_main()
        if t.pl_weight and self.steps % t.pl_interval == 0:
            self.g_path_length()
        self.d_main(reals, c)
        if t.r1_gamma and self.steps % t.r1_interval == 0:
            self.d_r1(reals, c)
        beta = ema_beta(t.batch, t.ema_kimg, self.images_seen, t.ema_rampup)
        update_ema(self.G_ema, self.G, beta)
        self.steps += 1
        self.images_seen += t.batch
        if self.augment.adaptation:
            self.augment.adaptation.step(self.steps, t.batch)

    def g_main(self) -> None:
        """Update G so that D takes its images for real."""
        loss_of = losses.G_LOSSES[self.config.train.loss]
        w_means: list[torch.Tensor] = []

        def partial() -> Iterator[torch.Tensor]:
            for n, share in self._rounds():
                ws, c = self._latents(n)
                w_means.append(ws[:, 0].detach().mean(dim=0))
                fake = self._logits(self._synthesis(ws), c)
                loss = loss_of(fake)
                self.stats.add("loss/G", loss, n)
                self.stats.add("sign/fake", fake.sign().mean(), n)
                yield loss * share

        self._update("G main", self.G_opt, partial())
        self.G.mapping.update_w_avg(torch.stack(w_means).mean(dim=0))

    def g_path_length(self) -> None:
        """Update G so that a step in w changes the image equally much everywhere."""
        t = self.config.train
        means: list[torch.Tensor] = []

        def new_mean() -> torch.Tensor:
            return self.pl_mean.lerp(torch.stack(means).mean(), t.pl_decay)

        def partial() -> Iterator[torch.Tensor]:
            for n, share in self._rounds(t.pl_batch_shrink):
                ws, _ = self._latents(n)
                ws = ws if ws.requires_grad else ws.requires_grad_()  # of a frozen mapping
                lengths = losses.path_lengths(self._synthesis(ws), ws, self.rng)
                means.append(lengths.detach().mean())
                penalty = losses.path_length_penalty(lengths, new_mean())
                self.stats.add("loss/path_length", penalty, n)
                yield penalty * (t.pl_weight * t.pl_interval * share)

        self._update("G path length", self.G_opt, partial())
        mean = new_mean()  # one that is not finite would never recover
        self.pl_mean.copy_(torch.where(mean.isfinite(), mean, self.pl_mean))

    def d_main(self, reals: torch.Tensor, c: torch.Tensor | None = None) -> None:
        """Update D so that it tells real images from generated ones."""

        def partial() -> Iterator[torch.Tensor]:
            for (n, share), (x, x_c) in zip(self._rounds(), self._split(reals, c)):
                with torch.no_grad():
                    ws, z_c = self._latents(n)
                    fakes = self._synthesis(ws, update_emas=True)
                if n > 1:  # how much images differ, generated and real
                    self.stats.add("std/fake", fakes.std(dim=0).mean(), n)
                    self.stats.add("std/real", x.std(dim=0).mean(), n)
                fake_loss = losses.d_fake(self._logits(fakes, z_c))
                yield fake_loss * share
                real = self._real_logits(x, x_c)
                real_loss = losses.d_real(real)
                self.stats.add("loss/D", fake_loss.detach() + real_loss.detach(), n)
                self.stats.add("sign/real", real.sign().mean(), n)
                yield real_loss * share

        self._update("D main", self.D_opt, partial())

    def d_r1(self, reals: torch.Tensor, c: torch.Tensor | None = None) -> None:
        """Update D so that its gradient is small at real images."""
        t = self.config.train

        def partial() -> Iterator[torch.Tensor]:
            for (n, share), (x, x_c) in zip(self._rounds(), self._split(reals, c)):
                x = x.detach().requires_grad_()
                penalty = losses.r1_penalty(x, self._real_logits(x, x_c))
                self.stats.add("loss/r1", penalty, n)
                yield penalty * (t.r1_gamma / 2 * t.r1_interval * share)

        self._update("D R1", self.D_opt, partial())

    def _update(
        self, kind: str, optimizer: torch.optim.Optimizer, partial_losses: Iterable[torch.Tensor]
    ) -> None:
        """Accumulate the gradients of the partial losses, one graph at a time, and step."""
        trained = self.trained[kind[0]]
        for p in trained:
            p.requires_grad_(True)
        optimizer.zero_grad(set_to_none=True)
        bad = torch.zeros([], dtype=torch.bool, device=self.device)
        for loss in partial_losses:
            loss.backward()
            bad = bad | ~loss.detach().isfinite()
        for p in trained:
            # If a derivative is always 0 (R1 w.r.t. a bias before lrelu), one kernel returns 0 and
            # another None. The optimizer has to do the same with both.
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            p.requires_grad_(False)
        self.stats.add("nonfinite_gradients", self.finite.update(kind, kind[0], bad))
        optimizer.step()

    def first_nonfinite(self, reals: torch.Tensor, c: torch.Tensor | None = None) -> str | None:
        """Run G and D once more to find the layer at which values stop being finite.

        It draws random numbers, so the run cannot continue exactly after it.

        Returns: its name, or None.
        """

        def run() -> None:
            n = self.config.train.batch_gpu
            ws, z_c = self._latents(n)
            self._logits(self._synthesis(ws), z_c)
            self._logits(reals[:n], None if c is None else c[:n])

        return first_nonfinite({"G": self.G, "D": self.D}, run)

    def _rounds(self, shrink: int = 1) -> Iterator[tuple[int, float]]:
        """(samples, share of the batch) for every round of gradient accumulation."""
        t = self.config.train
        rounds = t.batch // t.batch_gpu
        for _ in range(rounds):
            yield max(t.batch_gpu // shrink, 1), 1 / rounds

    def _split(
        self, reals: torch.Tensor, c: torch.Tensor | None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
        n = self.config.train.batch_gpu
        return zip(reals.split(n), [None] * len(reals) if c is None else c.split(n))

    def _latents(self, n: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """ws [n, num_ws, w_dim] with style mixing, and their labels."""
        c = self._random_labels(n)
        z = torch.randn(2, n, self.G.z_dim, device=self.device, generator=self.rng)
        ws = self.G.mapping(z[0], c)
        probability = self.config.train.style_mixing
        if probability:
            draw = torch.rand(2, n, 1, 1, device=self.device, generator=self.rng)
            crossover = 1 + (draw[0] * (self.G.num_ws - 1)).long()
            layer = torch.arange(self.G.num_ws, device=self.device)[None, :, None]
            mixed = (draw[1] < probability) & (layer >= crossover)
            ws = torch.where(mixed, self.G.mapping(z[1], c), ws)
        return ws, c

    def _random_labels(self, n: int) -> torch.Tensor | None:
        if not self.config.G.c_dim:
            return None
        draw = torch.randint(len(self.labels), [n], device=self.device, generator=self.rng)
        c = self.labels[draw]
        return c if c.ndim == 2 else F.one_hot(c, self.config.G.c_dim).float()

    def _synthesis(self, ws: torch.Tensor, update_emas: bool = False) -> torch.Tensor:
        update_emas &= not self.config.train.freeze_g
        return self.G.synthesis(ws, "random", self.rng, update_emas)

    def _logits(self, images: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        """D of the images, blurred at the start of a run and augmented if the settings say so."""
        t = self.config.train
        images = blur(images, blur_sigma(t.blur_sigma, t.blur_fade_kimg, self.images_seen))
        return self.D(self.augment(images), c)

    def _real_logits(self, images: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        """The same of real images, from which augmentation learns how well D knows them."""
        logits = self._logits(images, c)
        if self.augment.adaptation:
            self.augment.adaptation.observe(logits)
        return logits

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on besides the networks, of types that
        `torch.load(weights_only=True)` reads."""
        return {
            "images_seen": self.images_seen,
            "steps": self.steps,
            "pl_mean": self.pl_mean,
            "G_opt": self.G_opt.state_dict(),
            "D_opt": self.D_opt.state_dict(),
            "rng": self.rng.get_state(),
            "stats": self.stats.state_dict(),
            "finite": self.finite.state_dict(),
            "augment": self.augment.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.images_seen, self.steps = state["images_seen"], state["steps"]
        self.pl_mean.copy_(state["pl_mean"])
        self.G_opt.load_state_dict(state["G_opt"])
        self.D_opt.load_state_dict(state["D_opt"])
        self.rng.set_state(state["rng"])
        self.stats.load_state_dict(state["stats"], self.device)
        self.finite.load_state_dict(state["finite"])
        self.augment.load_state_dict(state.get("augment", {}))  # runs from before it have none


def _adam(
    parameters: list[torch.nn.Parameter], lr: float, interval: int | None
) -> torch.optim.Adam:
    """Adam(0, 0.99), corrected for a regularizer with its own step every `interval` steps.

    Source: Karras et al. 2020 (arXiv:1912.04958), appendix B, "lazy regularization".
    """
    c = interval / (interval + 1) if interval else 1
    return torch.optim.Adam(parameters, lr=lr * c, betas=(0.0, 0.99**c), eps=1e-8)
