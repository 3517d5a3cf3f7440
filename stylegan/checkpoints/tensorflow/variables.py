# SPDX-License-Identifier: Apache-2.0
"""The variables of NVIDIA's TensorFlow networks as tensors of our networks.

TensorFlow has the axes of a weight in reverse order (convolutions: k, k, in, out). Its upsampling
convolution is a transposed one, which sees the weight rotated by half a turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from stylegan.checkpoints.arguments import Arguments
from stylegan.checkpoints.formats import Tensors
from stylegan.checkpoints.pickle.arrays import Array, Derived, TensorSource

LR_MULT = 0.01  # of our mapping networks: a factor on their parameters
LR_MULT_D = 0.1  # default of their discriminators
# {pattern of their layer: our layer}. At 4x4 a generator has a single convolution.
LAYERS_G = {
    r"mapping/LabelEmbed": r"mapping.embed",
    r"mapping/Dense(\d+)": r"mapping.fc\1",
    r"synthesis/4x4/Conv": r"synthesis.b4.conv1",
    r"synthesis/(\d+)x\1/Conv0_up": r"synthesis.b\1.conv0",
    r"synthesis/(\d+)x\1/Conv1": r"synthesis.b\1.conv1",
    r"synthesis/(\d+)x\1/ToRGB": r"synthesis.b\1.torgb",
    r"synthesis/(\d+)x\1/Skip": r"synthesis.b\1.skip",
}
LAYERS_D = {
    r"LabelEmbed": r"mapping.embed",
    r"Mapping(\d+)": r"mapping.fc\1",
    r"(\d+)x\1/FromRGB": r"b\1.fromrgb",
    r"(\d+)x\1/Conv0": r"b\1.conv0",
    r"(\d+)x\1/Conv1_down": r"b\1.conv1",
    r"(\d+)x\1/Skip": r"b\1.skip",
    r"4x4/Conv": r"b4.conv",
    r"4x4/Dense0": r"b4.fc",
    r"Output": r"b4.out",
}
OTHERS = {"dlatent_avg": "mapping.w_avg", "synthesis/4x4/Const/const": "synthesis.b4.const"}
KINDS = {
    "weight": "weight",
    "bias": "bias",
    "mod_weight": "affine.weight",
    "mod_bias": "affine.bias",
    "noise_strength": "noise_strength",
}
LEADING_ONES = {"const": 1, "noise_const": 2}  # leading dimensions of size 1 that ours lack
AXES = (3, 2, 0, 1)  # of our convolution weights in theirs


def our_tensors(variables: Mapping[str, Array], settings: Arguments) -> Tensors:
    """Tensors under our names. A variable without such a name keeps its own."""
    is_D = settings.where == "D"
    gain = settings.number("mapping_lrmul", LR_MULT_D if is_D else LR_MULT) / LR_MULT
    result: Tensors = {}
    for name, array in variables.items():
        if name.rpartition("/")[2] == "lod":
            continue  # how far a network has grown; networks of StyleGAN2 do not grow
        ours = _our_name(name, LAYERS_D if is_D else LAYERS_G)
        if ours in result:
            raise ValueError(f"{settings.where} has {ours} twice, the second time as {name}")
        result[ours] = _converted(array, ours, gain)
    return result


def _our_name(name: str, layers: Mapping[str, str]) -> str:
    """Our name of a variable, or its own."""
    if name in OTHERS:
        return OTHERS[name]
    if match := re.fullmatch(r"synthesis/noise(\d{1,2})", name):
        k = int(match[1])  # 0 at 4x4, then two per resolution
        return f"synthesis.b{1 << (k + 5) // 2}.conv{1 - k % 2}.noise_const"
    layer, _, kind = name.rpartition("/")
    for pattern, ours in layers.items() if kind in KINDS else ():
        if match := re.fullmatch(pattern, layer):
            return f"{match.expand(ours)}.{KINDS[kind]}"
    return name


def _converted(array: Array, ours: str, gain: float) -> TensorSource:
    """Our tensor from theirs. A tensor of an unexpected shape is not changed.

    Args:
        ours: its name.
        gain: their factor on the parameters of a mapping network, relative to ours.
    """
    layer, _, kind = ours.rpartition(".")
    shape, ones = array.shape, LEADING_ONES.get(kind, 0)
    gain = gain if re.fullmatch(r"mapping\.fc\d+", layer) else 1

    def rotated(x: torch.Tensor) -> torch.Tensor:
        upsamples = re.fullmatch(r"synthesis\.b\d+\.(conv0|skip)", layer)
        return x.flip((0, 1) if upsamples else ()).permute(AXES)

    if ones and shape[:ones] == (1,) * ones:
        return Derived(array, shape[ones:], lambda x: x.reshape(shape[ones:]))
    if kind == "weight" and len(shape) == 4:
        return Derived(array, [shape[i] for i in AXES], rotated)
    if kind == "weight" and len(shape) == 2:
        return Derived(array, shape[::-1], lambda x: x.t() * gain)
    if ours.endswith(".affine.bias"):
        return Derived(array, shape, lambda x: x.float() + 1)
    return array if gain == 1 else Derived(array, shape, lambda x: x * gain)
