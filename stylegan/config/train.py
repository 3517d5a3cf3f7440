# SPDX-License-Identifier: Apache-2.0
"""How to train."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

from stylegan.config.numbers import whole_groups
from stylegan.config.options import (
    Auto,
    Automatic,
    Known,
    check_options,
    option,
    plain_numbers,
    short_repr,
)
from stylegan.errors import UserError

LOSSES = ("nonsaturating", "saturating")
AUGMENTATIONS = ("ada", "fixed", "diff", "none")
# The choices of `aug` that use each other setting of augmentation. The first is what the setting
# on its own asks for.
AUG_SETTINGS = {
    "aug_pipe": ("ada", "fixed"),
    "ada_target": ("ada",),
    "ada_kimg": ("ada",),
    "ada_max_p": ("ada",),
    "aug_p": ("fixed",),
    "diff_policy": ("diff",),
}
# Source: Karras et al. 2020 (arXiv:2006.06676), table 1 and section 3.
PIPE_NAMES = (
    *("blit", "geom", "color", "filter", "noise", "cutout"),
    *("bg", "bgc", "bgcf", "bgcfn", "bgcfnc"),
)
POLICIES = ("color", "translation", "cutout")  # of DiffAugment
# With fewer images D learns them by heart in a long run. Source: the same, figure 7: ADA helps at
# 30k images and harms at 140k.
MANY_IMAGES = 30_000

_option = functools.partial(option, group="Training")
_output = functools.partial(option, group="Output")


# Source of the automatic settings: Karras et al. 2020 (arXiv:2006.06676), appendix C; for StyleGAN3
# Karras et al. 2021 (arXiv:2106.12423), appendix G.
def auto_batch(k: Known) -> int:
    """4096 / side per GPU, at most 32, and 64 in all; in whole groups of the minibatch standard
    deviation, and a multiple of --batch-gpu."""
    per_gpu = min(4096 // k.side, 32, 64 // k.gpus)
    if k.batch_gpu:
        return max(per_gpu // k.batch_gpu, 1) * k.batch_gpu * k.gpus
    return whole_groups(per_gpu, k.mbstd_group) * k.gpus


AUTO_BATCH = Automatic(
    "by resolution: 4096 / side, at most 32 per GPU and 64 in all, in whole --mbstd-group",
    auto_batch,
)
AUTO_LR = Automatic(
    "by resolution: 0.0025, from 1024 px on 0.002", lambda k: 0.002 if k.side >= 1024 else 0.0025
)


def _r1_gamma(k: Known) -> float:
    # StyleGAN3's published settings are all for batches of 32.
    gamma = 0.001 / 32 if k.model == "stylegan3" else 0.0002 / k.batch
    return gamma * k.height * k.width


def _augmentation(k: Known) -> str:
    return "ada" if k.images is not None and k.images < MANY_IMAGES else "none"


@dataclass(frozen=True, repr=False)
class TrainConfig:
    """How to train. kimg counts thousands of real images shown to the discriminator."""

    kimg: float = _option(25000, "Length of the run in thousands of images.", above=0)
    minutes: float | None = _option(
        None,
        "End the run after this long, if that comes first; 0: no limit.",
        above=0,
        none_is=0,
        none="no limit",
    )
    batch: Auto[int] = _option(32, "Images per step.", above=0, automatic=AUTO_BATCH)
    batch_gpu: Auto[int] = _option(
        None,
        "Images at once on one device; the gradients of the rest of the batch are accumulated.",
        above=0,
        automatic=Automatic("batch / GPUs", lambda k: max(k.batch // k.gpus, 1)),
    )
    loss: str = _option(
        "nonsaturating",
        "Objective of G; saturating is the minimax objective of the original GAN.",
        choices=LOSSES,
    )
    g_lr: Auto[float] = _option(0.002, "Adam's step size for G.", above=0, automatic=AUTO_LR)
    d_lr: Auto[float] = _option(0.002, "Adam's step size for D.", above=0, automatic=AUTO_LR)
    r1_gamma: Auto[float] = _option(
        10,
        "Weight of the R1 penalty.",
        names=("--r1-gamma", "--gamma"),
        min=0,
        automatic=Automatic(
            "by resolution: 0.0002 * height * width / batch; "
            "StyleGAN3: 0.001 * height * width / 32",
            _r1_gamma,
        ),
    )
    r1_interval: int = _option(16, "Steps between two R1 steps.", above=0)
    pl_weight: float = _option(2, "Weight of path length regularization; 0: off.", min=0)
    pl_interval: int = _option(4, "Steps between two path length steps.", above=0)
    pl_decay: float = _option(0.01, "Decay of the running mean of path lengths.", min=0, max=1)
    pl_batch_shrink: int = _option(
        2, "Path length regularization uses the batch divided by this.", above=0
    )
    style_mixing: float = _option(
        0.9, "Probability that an image gets its styles from two latents.", min=0, max=1
    )
    ema_kimg: Auto[float] = _option(
        10,
        "Half-life in kimg of the moving average of G's weights.",
        above=0,
        automatic=Automatic("batch * 10 / 32", lambda k: k.batch * 10 / 32),
    )
    ema_rampup: float | None = _option(
        None,
        "The half-life is at most this fraction of the images seen so far; 0: off.",
        min=0,
        none_is=0,
        none="off",
    )
    blur_sigma: float = _option(
        0,
        "Blur the images for D by this many px at first; 0: off. A run with --init-from does not "
        "blur.",
        min=0,
    )
    blur_fade_kimg: float | None = _option(
        None,
        "Length of the fade of that blur in kimg.",
        above=0,
        automatic=Automatic(
            "batch * 200 / 32", lambda k: k.batch * 200 / 32 if k.blur_sigma else None
        ),
    )
    aug: Auto[str] = _option(
        "none",
        "Augment the images that D sees, so that it does not learn them by heart. ada: with a "
        "probability that follows from how well D knows the images; fixed: with a constant one; "
        "diff: DiffAugment; none.",
        choices=AUGMENTATIONS,
        automatic=Automatic(f"ada below {MANY_IMAGES:,} images, else none", _augmentation),
    )
    aug_pipe: str = _option(
        "bgc",
        "Transforms of --aug ada and fixed. Letters: b flips, 90 degree turns and shifts, g other "
        "geometry, c color, f filter, n noise, c cutout.",
        names=("--aug-pipe", "--augpipe"),
        choices=PIPE_NAMES,
    )
    aug_p: float = _option(
        0.2,
        "Probability of each transform with --aug fixed.",
        names=("--aug-p", "--p"),
        min=0,
        max=1,
    )
    ada_target: float = _option(
        0.6,
        "The probability rises while the mean sign of D on real images is above this.",
        names=("--ada-target", "--target"),
        min=-1,
        max=1,
    )
    ada_kimg: Auto[float] = _option(
        500,
        "Kimg in which the probability can go from 0 to 1.",
        above=0,
        automatic=Automatic("500; 100 with --init-from", lambda k: 100 if k.init_from else 500),
    )
    ada_max_p: float = _option(
        0.8,
        "Maximum of the probability; above it generated images begin to look augmented.",
        min=0,
        max=1,
    )
    diff_policy: str = _option(
        ",".join(POLICIES),
        "Transforms of --aug diff, with commas between them.",
        metavar="NAME,NAME",
    )
    seed: int = _option(0, "Seed of all random numbers.", min=0, max=2**31 - 1)
    init_from: str | None = _option(
        None,
        "Start with the weights of another network where they fit (transfer learning).",
        metavar="NETWORK",
    )
    freeze_d: int = _option(
        0,
        "With --init-from: keep the weights of this many blocks of D, from the image on (one block "
        "per halving of the resolution). 0: all train.",
        min=0,
    )
    freeze_g: bool = _option(
        False,
        "With --init-from: keep the synthesis network of G, so that only its mapping network "
        "trains. Path length regularization is then off.",
    )
    freeze_mapping: bool = _option(
        False,
        "With --init-from: keep the mapping network of G, so that only its synthesis network "
        "trains.",
    )
    snapshot_kimg: float = _output(
        200, "Kimg between snapshots. The last one is always written.", above=0
    )
    snapshot_minutes: float | None = _output(
        15,
        "Minutes between snapshots, and between sheets, at most; a young run writes them sooner. "
        "0: by --snapshot-kimg and --grid-kimg alone.",
        above=0,
        none_is=0,
        none="by --snapshot-kimg alone",
    )
    keep: int | None = _output(
        10,
        "Snapshots to keep; older ones are deleted. 0: all.",
        above=0,
        none_is=0,
        none="all",
    )
    grid_kimg: float = _output(50, "Kimg between sheets of samples.", above=0)
    tick_kimg: float = _output(4, "Kimg between lines of the log.", above=0)
    tf32: bool = _option(True, "TensorFloat-32 in convolutions on CUDA.")
    ops: str | None = _option(
        None,
        "Backend of the ops. auto: compiled kernels if they can be built, else PyTorch; native: "
        "fail without them; reference: the plain PyTorch definitions, two to three times slower on "
        "a CPU.",
        choices=("auto", "native", "reference"),
        none="$STYLEGAN_OPS, or auto",
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        plain_numbers(self)
        # Of these only the command line is strict: older snapshots may hold other values.
        lenient = {"g_lr", "d_lr", "ema_kimg", "ema_rampup", "pl_decay", "seed", "style_mixing"}
        lenient |= {"r1_gamma", "pl_weight", "ops"}
        check_policy(self.diff_policy)
        check_options(self, {f.name for f in fields(self)} - lenient)
        if self.batch and self.batch_gpu and self.batch % self.batch_gpu:
            fits = next(n for n in range(self.batch_gpu, 0, -1) if self.batch % n == 0)
            raise UserError(
                "batch_gpu", f"{self.batch_gpu} does not divide batch {self.batch}; {fits} does"
            )


def check_policy(policy: str) -> None:
    """Raises: UserError if it is not a list of names in POLICIES."""
    names = policy.split(",")
    unknown = [name for name in names if name not in POLICIES]
    if unknown:
        allowed = ", ".join(POLICIES)
        raise UserError("diff_policy", f"expected some of {allowed}, got {unknown[0]!r}")
