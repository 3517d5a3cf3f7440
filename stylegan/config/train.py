# SPDX-License-Identifier: Apache-2.0
"""How to train."""

from dataclasses import dataclass

from stylegan.errors import UserError

LOSSES = ("nonsaturating", "saturating")


@dataclass(frozen=True)
class TrainConfig:
    """How to train. kimg counts thousands of real images shown to the discriminator."""

    kimg: float = 25000  # length of the run
    minutes: float | None = None  # end the run after this long, if that comes first
    batch: int | None = 32  # images per step, over all devices; None: by resolution
    batch_gpu: int | None = None  # images at once on one device; the rest is accumulated. None: all
    loss: str = "nonsaturating"  # or saturating, the minimax objective of the original GAN
    g_lr: float | None = 0.002  # Adam's step for G; None: by resolution
    d_lr: float | None = 0.002  # Adam's step for D; None: by resolution
    r1_gamma: float | None = 10  # weight of R1; None: 0.0002 * height * width / batch, for
    # StyleGAN3 0.001 * height * width / 32
    r1_interval: int = 16  # steps between R1 steps
    pl_weight: float = 2  # weight of path length regularisation; 0 switches it off
    pl_interval: int = 4  # steps between path length steps
    pl_decay: float = 0.01  # of the running mean of path lengths
    pl_batch_shrink: int = 2  # path length sees the batch divided by this
    style_mixing: float = 0.9  # probability of two latents per image
    ema_kimg: float | None = 10  # half-life of the average of G's weights; None: batch * 10 / 32
    ema_rampup: float | None = (
        None  # half-life at most this fraction of the images seen so far; None: off
    )
    blur_sigma: float = (
        0  # px; D sees images blurred by this to begin with, unless init_from; 0: off
    )
    blur_fade_kimg: float | None = None  # ... and fading to nothing over this; None: batch * 200/32
    seed: int = 0  # of the weights, latents and the order of the images
    init_from: str | None = None  # network whose weights are taken where they fit
    snapshot_kimg: float = 200  # between snapshots; the last one is always written
    snapshot_minutes: float | None = 15  # between snapshots at most; None: by kimg alone
    keep: int | None = 10  # snapshots; older ones are deleted. None: all
    grid_kimg: float = 50  # between sample grids
    tick_kimg: float = 4  # between lines of the log
    tf32: bool = True  # TensorFloat-32 in float32 convolutions and products on CUDA
    ops: str | None = None  # backend: auto, native, reference; None: as STYLEGAN_OPS says, or auto

    def __post_init__(self):
        if self.loss not in LOSSES:
            raise UserError("loss", f"expected one of {', '.join(LOSSES)}, got {self.loss!r}")
        for name in (
            "kimg",
            "r1_interval",
            "pl_interval",
            "pl_batch_shrink",
            "tick_kimg",
            "grid_kimg",
            "snapshot_kimg",
            "snapshot_minutes",
            "keep",
            "minutes",
            "batch",
            "batch_gpu",
            "blur_fade_kimg",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(name, f"expected a number above 0, got {value}")
        if self.batch and self.batch_gpu and self.batch % self.batch_gpu:
            raise UserError("batch_gpu", f"{self.batch_gpu} does not divide batch {self.batch}")
        if not self.blur_sigma >= 0:
            raise UserError("blur_sigma", f"expected 0 or a number above, got {self.blur_sigma}")
