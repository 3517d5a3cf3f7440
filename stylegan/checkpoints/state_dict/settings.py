# SPDX-License-Identifier: Apache-2.0
"""The settings of networks with NVIDIA's names of tensors, from the names and shapes alone.

Settings that no shape tells are the defaults of this package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from stylegan.checkpoints.formats import channel_fields, shape_of
from stylegan.checkpoints.pickle.arrays import Array
from stylegan.checkpoints.rosinality.settings import TAPS, taps_of
from stylegan.config import DiscriminatorConfig, GeneratorConfig, Stylegan3Config
from stylegan.config.network import MIN_BLOCK_SIDE
from stylegan.models.stylegan3_filters import bands, geometry

Arrays = Mapping[str, Array]
MAX_BLOCKS = 16  # 4 px to 131072 px
MAX_LAYERS = 64  # of StyleGAN3
MAX_BASE = 1 << 24
LAYER = re.compile(r"synthesis\.L(\d{1,3})_(\d{1,6})_(\d{1,6})\.weight")
LIKE = "--like NETWORK names a network with the same settings"


def generator_config(tensors: Arrays) -> GeneratorConfig | Stylegan3Config:
    """Settings of a generator.

    Args: tensors: by NVIDIA's names.
    Raises: ValueError that names a tensor that does not fit.
    """
    if any(LAYER.fullmatch(key) for key in tensors):
        return _stylegan3(tensors)
    sizes = _blocks(tensors, r"synthesis\.b(\d{1,6})\.conv1\.weight")
    const = _shape(tensors, "synthesis.b4.const", 3)
    top = f"synthesis.b{sizes[-1]}"
    widths = [_shape(tensors, f"synthesis.b{r}.conv1.weight", 4)[0] for r in sizes]
    architecture = "orig"
    if f"{top}.skip.weight" in tensors:
        architecture = "resnet"
    elif "synthesis.b4.torgb.weight" in tensors:
        architecture = "skip"
    return GeneratorConfig(
        **shape_of(const[1:], len(sizes), sizes[-1]),
        channels=_shape(tensors, f"{top}.torgb.weight", 4)[0],
        **_mapping(tensors, _shape(tensors, f"{top}.conv1.affine.weight", 2)[1]),
        architecture=architecture,
        **channel_fields(widths),
        resample_filter=_taps(tensors, f"{top}.conv0.resample_filter"),
        use_noise=f"{top}.conv1.noise_const" in tensors,
    )


def discriminator_config(
    tensors: Arrays, G: GeneratorConfig | Stylegan3Config
) -> DiscriminatorConfig:
    """Settings of a discriminator. Args: G: settings of its generator; others as there."""
    sizes = [4, *_blocks(tensors, r"b(\d{1,6})\.conv0\.weight", first=8)]
    top, second = f"b{sizes[-1]}", f"b{sizes[-2]}"
    widths = [_shape(tensors, f"b{r}.conv0.weight", 4)[0] for r in sizes[1:]]
    last = _shape(tensors, "b4.conv.weight", 4)
    architecture = "orig"
    if f"{top}.skip.weight" in tensors:
        architecture = "resnet"
    elif f"{second}.fromrgb.weight" in tensors:
        architecture = "skip"
    layers = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", key)) for key in tensors)
    labels = _shape(tensors, "mapping.embed.weight", 2)[1] if layers else 0
    return DiscriminatorConfig(
        resolution=G.resolution,
        min_block_side=getattr(G, "min_block_side", MIN_BLOCK_SIDE),
        channels=_shape(tensors, f"{top}.fromrgb.weight", 4)[1],
        c_dim=labels,
        architecture=architecture,
        **channel_fields([last[0], *widths]),
        resample_filter=_taps(tensors, f"{top}.conv1.resample_filter"),
        mapping_layers=layers or 8,
        mbstd_channels=last[1] - _shape(tensors, "b8.conv1.weight", 4)[0],
    )


def _mapping(tensors: Arrays, w_dim: int) -> dict[str, Any]:
    """Fields of the mapping network."""
    layers = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", key)) for key in tensors)
    embedded = c_dim = 0
    if "mapping.embed.weight" in tensors:
        embedded, c_dim = _shape(tensors, "mapping.embed.weight", 2)
    inputs = _shape(tensors, "mapping.fc0.weight", 2)[1] if layers else w_dim
    return {
        "z_dim": inputs - embedded,
        "c_dim": c_dim,
        "w_dim": w_dim,
        "mapping_layers": layers,
    }


def _stylegan3(tensors: Arrays) -> Stylegan3Config:
    """Settings of a StyleGAN3 generator. Raises: ValueError that asks for --like if the layers are
    not those of T or R."""
    found = sorted(tuple(map(int, m.groups())) for m in map(LAYER.fullmatch, tensors) if m)
    if len(found) < 3 or len(found) > MAX_LAYERS or [i for i, *_ in found] != [*range(len(found))]:
        raise ValueError(f"G: {len(found)} layers of StyleGAN3 that are not numbered from 0")
    names = ["L{}_{}_{}".format(*layer) for layer in found]
    resolution, channels = found[-1][1:]
    if resolution < 16 or resolution & (resolution - 1):
        raise ValueError(f"G: StyleGAN3 draws powers of two from 16 px on, not {resolution} px")
    kernel = _shape(tensors, f"synthesis.{names[0]}.weight", 4)[2]
    filters = [f"synthesis.{name}.down_filter" for name in names]
    radial = [len(tensors[key].shape) == 2 for key in filters if key in tensors]
    w_dim = _shape(tensors, "synthesis.input.affine.weight", 2)[1]
    widths = [width for _, _, width in found[:-1]]
    config = Stylegan3Config(
        resolution=(resolution, resolution),
        channels=channels,
        **_mapping(tensors, w_dim),
        channel_base=MAX_BASE,
        channel_max=max(widths),
        num_layers=len(found) - 1,
        conv_kernel=kernel,
        radial_filters=any(radial) if radial else kernel == 1,
    )
    cutoffs = [band.cutoff for band in bands(config)]
    fields = {**vars(config), "channel_base": _channel_base(widths, cutoffs)}
    config = Stylegan3Config(**fields)
    layers = geometry(config)
    if [g.name for g in layers] != names or not all(_same_filters(tensors, g) for g in layers):
        raise ValueError(f"G: its layers are neither those of StyleGAN3-T nor of R; {LIKE}")
    return config


def _channel_base(widths: Sequence[int], cutoffs: Sequence[float]) -> int:
    """The roundest channel_base that gives these channels of StyleGAN3's layers."""
    pairs, top = list(zip(widths, cutoffs)), max(widths)
    low = max(2 * f * (w - 0.5) for w, f in pairs)
    high = min((2 * f * (w + 0.5) for w, f in pairs if w < top), default=2 * low)
    step = 1 << 20
    while step > 1 and (low // step + 1) * step >= high:
        step //= 2
    return int(min((low // step + 1) * step, MAX_BASE))


def _same_filters(tensors: Arrays, layer: Any) -> bool:
    """Whether the filters in the file, if there are any, are those of a layer."""
    for end, expected in zip(("up_filter", "down_filter"), layer.filters()):
        array = tensors.get(f"synthesis.{layer.name}.{end}")
        if array is None or expected is None:
            continue
        if array.shape != tuple(expected.shape):
            return False
        if not torch.allclose(array.read().float(), expected, 1e-2, 1e-4):
            return False
    return True


def _blocks(tensors: Arrays, pattern: str, first: int = 4) -> list[int]:
    """The nominal resolutions of the blocks, which double from `first` on."""
    sizes = sorted(int(m[1]) for m in (re.fullmatch(pattern, key) for key in tensors) if m)
    if not sizes or len(sizes) > MAX_BLOCKS or sizes != [first << i for i in range(len(sizes))]:
        raise ValueError(
            f"blocks of {sizes[:20]} px, expected {first}, {2 * first}, {4 * first}, ..."
        )
    return sizes


def _shape(tensors: Arrays, key: str, axes: int) -> tuple[int, ...]:
    shape = tensors[key].shape if key in tensors else ()
    if len(shape) != axes:
        raise ValueError(f"{key} is missing or has an unexpected shape")
    return shape


def _taps(tensors: Arrays, key: str) -> tuple[float, ...]:
    """Taps of the low-pass filter; the usual ones if the file has none."""
    return taps_of(tensors, key) if key in tensors else TAPS
