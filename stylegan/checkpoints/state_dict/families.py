# SPDX-License-Identifier: Apache-2.0
"""Networks of other programs that are recognised by the names of their tensors, and not read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import Any

from stylegan.checkpoints.find import Found
from stylegan.checkpoints.formats import Checkpoint
from stylegan.checkpoints.pickle.arrays import Array

MAX_NAMES = 3000  # of tensors that are looked at
MAX_DICTIONARIES = 20  # that are looked at
LEVELS = 2  # of dictionaries in dictionaries
TENSORS = "`stylegan convert --to safetensors` can write its tensors"


@dataclass(frozen=True)
class Family:
    """A kind of network.

    Attributes:
        name: for people.
        signs: patterns; a file is of this kind if each of them matches a whole name in it.
        reason: why it cannot be built here.
    """

    name: str
    signs: tuple[str, ...]
    reason: str


def _other(name: str, *signs: str) -> Family:
    return Family(name, signs, f"{name} is not supported; {TENSORS}")


def _no_stylegan(name: str, *signs: str) -> Family:
    return Family(name, signs, f"{name} is not supported: it is no StyleGAN")


# Their names include those by which networks that are read are recognised.
LOOKALIKES = (
    _other("StyleSwin", r"(.*\.)?layers\.\d+\.blocks\.\d+\.attn\..*", r"(.*\.)?input\.input"),
    _other("StyleGAN-XL", r"(.*\.)?mapping\.embed_proj\..*", r"(.*\.)?synthesis\..*"),
)
FAMILIES = (
    Family(
        "genforce StyleGAN2",
        (r"(.*\.)?synthesis\.early_layer\.const", r"(.*\.)?truncation\.w_avg"),
        f"the layout of genforce's weights is not known here for certain; {TENSORS}",
    ),
    Family(
        "genforce StyleGAN1",
        (r"(.*\.)?synthesis\.layer0\..*", r"(.*\.)?mapping\.dense0\..*"),
        f"StyleGAN1 is not supported yet; {TENSORS}",
    ),
    Family(
        "adriansahlman StyleGAN2",
        (r"G_synthesis\..*", r"G_mapping\..*"),
        f"the layout of stylegan2_pytorch's Gs.pth is not known here for certain; {TENSORS}",
    ),
    Family(
        "StyleGAN1",
        (r"g_synthesis\..*", r"g_mapping\..*"),
        f"StyleGAN1 is not supported yet; {TENSORS}",
    ),
    Family(
        "StyleGAN1, rosinality",
        (r"(generator\.)?progression\.\d+\..*", r"style\..*|to_rgb\..*"),
        f"StyleGAN1 is not supported yet; {TENSORS}",
    ),
    _other("lucidrains' stylegan2-pytorch", "GAN", "version"),
    _other("lucidrains' stylegan2-pytorch", r"(.*\.)?initial_block", r"(.*\.)?to_initial_block.*"),
    _other("FastGAN", r"(.*\.)?feat_8\..*", r"(.*\.)?se_64\..*"),
    Family(
        "GFPGAN",
        (r"(.*\.)?stylegan_decoder\..*",),
        "GFPGAN restores faces and draws none from seeds",
    ),
    Family(
        "GFPGAN, clean StyleGAN2",
        (r"(.*\.)?style_conv1\.bias", r"(.*\.)?style_mlp\.1\.weight"),
        f"the StyleGAN2 of GFPGAN without equalized weights is not supported; {TENSORS}",
    ),
    Family(
        "R3GAN",
        (r"(.*\.)?MainLayers\.\d+\.Layers\.\d+\..*",),
        "R3GAN is not supported yet",
    ),
    _no_stylegan("StarGAN v2", "mapping_network", "style_encoder"),
    _no_stylegan("BigGAN", r"(.*\.)?blocks\.0\.0\.conv1\.weight", r"(.*\.)?blocks\.0\.0\.bn1\..*"),
    _no_stylegan("Stable Diffusion", r"model\.diffusion_model\..*"),
    _no_stylegan("a network of diffusers", r"(down|up)_blocks\.0\..*", r"conv_in\.weight"),
    _no_stylegan("a LoRA", r".*lora_(down|up|A|B)\.weight|.*\.lora_[AB]\..*"),
    _no_stylegan("a network of transformers", r".*\.layers?\.0\.(self_attn|attention)\..*"),
    _no_stylegan("ESRGAN", r"conv_first\.weight", r"body\.0\.rdb1\..*|RRDB_trunk\..*"),
    _no_stylegan("ArcFace", r"input_layer\.0\.weight", r"body\.0\..*", r"output_layer\..*"),
    _no_stylegan("VGG or AlexNet", r"features\.0\.weight", r"classifier\.\d\.weight"),
    _no_stylegan("Inception", r"Mixed_5b\..*"),
    _no_stylegan("ResNet", r"layer1\.0\.conv1\.weight", r"fc\.weight"),
)


class Named:
    """A format of networks that are named alone.

    Args: families: kinds of networks, of which the first that fits a file counts.
    """

    def __init__(self, families: tuple[Family, ...]) -> None:
        self.families = families

    def recognises(self, found: Found) -> bool:
        """Whether a file holds a network of one of these kinds."""
        return self.family_of(found) is not None

    def read(self, found: Found) -> Checkpoint:
        """The name of what is in such a file, and its tensors."""
        family = self.family_of(found)
        assert family is not None
        stored = {name: _tensors(state) for name, state in found.states.items()}
        return Checkpoint(family.name, family.name, stored, reason=family.reason)

    def family_of(self, found: Found) -> Family | None:
        """The kind of the network in a file, or None."""
        names = _names(found)
        for family in self.families:
            if all(any(map(re.compile(sign).fullmatch, names)) for sign in family.signs):
                return family
        return None


def _tensors(state: dict[str, Any]) -> dict[str, Array]:
    return {k: v for k, v in state.items() if type(k) is str and isinstance(v, Array)}


def _names(found: Found) -> list[str]:
    """Names of tensors, and keys of the dictionaries around them, also with their prefixes."""
    names: dict[str, None] = {}
    todo = [(value, LEVELS) for value in (found.root, found.others, *found.states.values())]
    for value, level in todo:
        for key, item in islice(value.items(), MAX_NAMES) if type(value) is dict else ():
            if type(key) is str and len(key) < 300:
                names[key] = None
            if level and type(item) is dict and len(todo) < MAX_DICTIONARIES:
                todo.append((item, level - 1))
    return list(names)[:MAX_NAMES]
