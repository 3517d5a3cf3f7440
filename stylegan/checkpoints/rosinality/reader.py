# SPDX-License-Identifier: Apache-2.0
"""Reading the .pt of rosinality's stylegan2-pytorch and of what builds on it (pSp, e4e).

A training checkpoint has g, d, g_ema, optimizers, arguments; a converted one g_ema and latent_avg.
Every tensor of theirs is one of ours in another shape; nothing is flipped, since they have the
orientation of NVIDIA's PyTorch networks and not that of the TensorFlow ones.
"""

import re

import torch

from stylegan.checkpoints.arguments import LIMIT, Arguments
from stylegan.checkpoints.formats import Checkpoint, fresh_discriminator, widths_of
from stylegan.checkpoints.metadata import data_set, own_meta, plain
from stylegan.checkpoints.pickle.nodes import Node, is_name
from stylegan.checkpoints.pickle.source import Array, Derived
from stylegan.checkpoints.rosinality.missing import MeanW, Noise
from stylegan.config import Config, DiscriminatorConfig, GeneratorConfig

FORMAT = "rosinality .pt"
PARTS = {"G_ema": "g_ema", "G": "g", "D": "d"}
OURS = "stylegan"  # key of what their format has no place for: settings of ours
# The shape of theirs from that of ours, and the reverse.
SHAPES = {
    "same": (lambda s: s, lambda s: s),
    "leading": (lambda s: (1, *s), lambda s: s[1:]),
    "image": (lambda s: (1, 1, *s), lambda s: s[2:]),
    "channels": (lambda s: (1, *s, 1, 1), lambda s: s[1:2]),
    "number": (lambda s: (1,), lambda s: ()),
}


def recognises(root):
    """Whether this is the value in such a file."""
    return type(root) is dict and any(
        type(state) is dict and "input.input" in state for state in _generators(root).values()
    )


def read(root):
    """The `Checkpoint` of the value in such a file.

    Raises: ValueError if it holds something else in place of networks.
    """
    states = _generators(root)
    if type(root.get("d")) is dict:
        states["D"] = _unwrapped(root["d"])
    stored = {name: _tensors(state, name) for name, state in states.items()}
    result = Checkpoint(FORMAT, "StyleGAN2, skip", stored, meta=_meta(root))
    try:
        kept = root.get(OURS) if type(root.get(OURS)) is dict else {}
        G = generator_config(stored["G_ema" if "G_ema" in stored else "G"], kept)
        D = fresh_discriminator(G)
        if "D" in stored:
            D = discriminator_config(stored["D"], G, kept)
        result.config = Config(G=G, D=D)
        averages = {"G_ema": root.get("latent_avg"), "G": kept.get("latent_avg")}
        result.tensors = {}
        for name, tensors in stored.items():
            table = (names_D if name == "D" else names_G)(result.config)
            ours = _ours(tensors if name == "D" else _with_noise(tensors), table, name)
            if not G.use_noise:  # we wrote it, with inputs that add nothing
                ours = {k: v for k, v in ours.items() if ".noise_" not in k}
            result.tensors[name] = ours
            if name != "D":
                average = _average(averages[name]) or MeanW(result.tensors[name], G)
                result.tensors[name]["mapping.w_avg"] = average
        result.check()
    except ValueError as e:
        result.fail(e)
    return result


def names_G(config):
    """(our name, their name, key of `SHAPES`) for a generator."""
    for i in range(config.G.mapping_layers):
        for part in ("weight", "bias"):
            yield f"mapping.fc{i}.{part}", f"style.{i + 1}.{part}", "same"
    yield "synthesis.b4.const", "input.input", "leading"
    blocks = (config.G.resolution[0] // 4).bit_length()
    for i in range(blocks):
        block = f"synthesis.b{4 << i}"
        if i:
            yield from _layer(f"{block}.conv0", f"convs.{2 * i - 2}", 2 * i - 1)
        yield from _layer(f"{block}.conv1", f"convs.{2 * i - 1}" if i else "conv1", 2 * i)
        theirs = f"to_rgbs.{i - 1}" if i else "to_rgb1"
        yield f"{block}.torgb.bias", f"{theirs}.bias", "channels"
        yield from _convolution(f"{block}.torgb", theirs)


def _layer(ours, theirs, noise):
    yield from _convolution(ours, theirs)
    yield f"{ours}.noise_strength", f"{theirs}.noise.weight", "number"
    yield f"{ours}.bias", f"{theirs}.activate.bias", "same"
    yield f"{ours}.noise_const", f"noises.noise_{noise}", "image"


def _convolution(ours, theirs):
    yield f"{ours}.weight", f"{theirs}.conv.weight", "leading"
    for part in ("weight", "bias"):
        yield f"{ours}.affine.{part}", f"{theirs}.conv.modulation.{part}", "same"


def names_D(config):
    """The same for a discriminator."""
    size = config.D.resolution[0]
    layers = {f"b{size}.fromrgb.weight": "convs.0.0.weight"}
    layers[f"b{size}.fromrgb.bias"] = "convs.0.1.bias"
    for i in range((size // 4).bit_length() - 1):
        ours, theirs = f"b{size >> i}", f"convs.{i + 1}"
        layers[f"{ours}.conv0.weight"] = f"{theirs}.conv1.0.weight"
        layers[f"{ours}.conv0.bias"] = f"{theirs}.conv1.1.bias"
        layers[f"{ours}.conv1.weight"] = f"{theirs}.conv2.1.weight"
        layers[f"{ours}.conv1.bias"] = f"{theirs}.conv2.2.bias"
        layers[f"{ours}.skip.weight"] = f"{theirs}.skip.1.weight"
    layers["b4.conv.weight"], layers["b4.conv.bias"] = "final_conv.0.weight", "final_conv.1.bias"
    for ours, theirs in (("fc", "final_linear.0"), ("out", "final_linear.1")):
        for part in ("weight", "bias"):
            layers[f"b4.{ours}.{part}"] = f"{theirs}.{part}"
    for ours, theirs in layers.items():
        yield ours, theirs, "same"


def generator_config(tensors, kept):
    """`GeneratorConfig` from the shapes of the tensors, and settings of ours that we wrote."""
    blocks = 1 + sum(bool(re.fullmatch(r"to_rgbs\.\d+\.bias", key)) for key in tensors)
    if blocks > 10:
        raise ValueError(f"G: {blocks} resolutions")
    layers = ["conv1", *(f"convs.{2 * i + 1}" for i in range(blocks - 1))]
    widths = [_size(tensors, f"{layer}.activate.bias", 0) for layer in layers]
    given = Arguments(kept.get("G", {}), "G")
    base, most = _rule(widths)
    return GeneratorConfig(
        resolution=4 << blocks - 1,
        channels=_size(tensors, "to_rgb1.bias", 1),
        z_dim=min(_size(tensors, "style.1.weight", 1), LIMIT),
        w_dim=_size(tensors, "conv1.conv.modulation.weight", 1),
        mapping_layers=sum(key.startswith("style.") and key.endswith(".weight") for key in tensors),
        channel_base=base,
        channel_max=most,
        widths=widths_of(widths, base, most),
        resample_filter=_taps(tensors, "convs.0.conv.blur.kernel"),
        conv_clamp=given.optional("conv_clamp", None),
        use_noise=given.flag("use_noise", True),
        low_precision_blocks=given.integer("low_precision_blocks", 0, 0, 64),
        w_avg_beta=given.number("w_avg_beta", 0.995, 0, 1),
    )


def discriminator_config(tensors, G, kept):
    """The same for a discriminator, which is a residual one."""
    blocks = G.resolution[0].bit_length() - 2
    widths = [_size(tensors, "final_linear.1.weight", 1)]
    widths += [_size(tensors, f"convs.{n}.conv1.0.weight", 0) for n in range(blocks - 1, 0, -1)]
    base, most = _rule(widths)
    given = Arguments(kept.get("D", {}), "D")
    group = given.any("mbstd_group", 4)
    return DiscriminatorConfig(
        resolution=G.resolution,
        channels=_size(tensors, "convs.0.0.weight", 1),
        channel_base=base,
        channel_max=most,
        widths=widths_of(widths, base, most),
        resample_filter=_taps(tensors, "convs.1.conv2.0.kernel"),
        conv_clamp=given.optional("conv_clamp", None),
        low_precision_blocks=given.integer("low_precision_blocks", 0, 0, 64),
        mbstd_group=None if group is None else given.integer("mbstd_group", 4, 1),
    )


def _generators(root):
    """{"G_ema", "G": state} in whichever way they are kept."""
    if type(root.get("state_dict")) is dict:  # of pSp and e4e, with an encoder beside it
        prefix = "decoder."
        decoder = {
            key.removeprefix(prefix): value
            for key, value in root["state_dict"].items()
            if type(key) is str and key.startswith(prefix)
        }
        return {"G_ema": decoder}
    if "input.input" in root:
        return {"G_ema": root}
    found = {name: root.get(PARTS[name]) for name in ("G_ema", "G")}
    return {name: _unwrapped(state) for name, state in found.items() if state is not None}


def _unwrapped(state):
    """Without the prefix of DataParallel, where every name has it."""
    prefix = "module."
    if type(state) is not dict or not all(
        type(key) is str and key.startswith(prefix) for key in state
    ):
        return state
    return {key.removeprefix(prefix): value for key, value in state.items()}


def _average(array):
    """[w_dim] of latent_avg, which pSp keeps once for every layer; None where there is none."""
    if not isinstance(array, Array):
        return None
    if len(array.shape) == 2 and array.shape[0]:
        return Derived(array, array.shape[1:], lambda rows: rows[0])
    return array


def _tensors(state, name):
    """{their name: `Array`}."""
    if type(state) is not dict or not all(map(is_name, state)):
        raise ValueError(f"{name}: no dictionary of tensors by name")
    for key, value in state.items():
        if not isinstance(value, Array):
            raise ValueError(f"{name}.{key}: no tensor")
    return state


def _ours(tensors, table, name):
    """{our name: `Array` or `Derived`}, with all of theirs used."""
    result, used = {}, set()
    for ours, theirs, shape in table:
        array = tensors.get(theirs)
        if array is None:
            raise ValueError(f"{name} lacks {theirs}")
        target = SHAPES[shape][1](array.shape)
        if SHAPES[shape][0](target) != array.shape:
            raise ValueError(f"{name}.{theirs} has the shape {str(list(array.shape))[:60]}")
        used.add(theirs)
        result[ours] = Derived(array, target, _reshape(target))
    extra = [key for key in tensors if key not in used and not key.endswith(".kernel")]
    if extra:
        raise ValueError(f"{name} has, beyond our network, {extra[0]}")
    return result


def _with_noise(tensors):
    if any(key.startswith("noises.") for key in tensors):
        return tensors
    layers = sum(bool(re.fullmatch(r"(convs\.\d+|conv1)\.noise\.weight", key)) for key in tensors)
    return {**tensors, **{f"noises.noise_{i}": Noise(i) for i in range(min(layers, 19))}}


def _reshape(shape):
    return lambda tensor: tensor.reshape(shape)


def _meta(root):
    kept = root.get(OURS)
    meta = own_meta(kept.get("meta") if type(kept) is dict else None)
    meta |= own_meta({"augment_p": root.get("ada_aug_p")})
    if type(root.get("args")) is Node:
        arguments = plain(root["args"].state)
        about = {name: arguments.pop(name) for name in ("path", "size") if name in arguments}
        if about:
            meta["dataset"] = data_set(about)
        meta["arguments"] = arguments
    return meta


def _size(tensors, key, axis):
    shape = tensors[key].shape if key in tensors else ()
    if len(shape) <= axis:
        raise ValueError(f"there is no {key}, or it has another shape")
    return shape[axis]


def _rule(widths):
    """(channel_base, channel_max) that give the widths, if any do."""
    most = max(widths)
    falling = [width * (4 << i) for i, width in enumerate(widths) if width < most]
    return max(falling, default=most * (2 << len(widths))), most


def _taps(tensors, key):
    """Taps of the filter whose outer product a kernel is."""
    kernel = tensors.get(key)
    if kernel is None or len(kernel.shape) != 2 or not 0 < kernel.numel <= 256:
        raise ValueError(f"there is no filter {key}")
    kernel = kernel.read().double()
    taps = kernel.sum(dim=0) / kernel.sum()
    if not torch.allclose(torch.outer(taps, taps) * kernel.sum(), kernel, atol=1e-5):
        raise ValueError(f"{key} is no outer product of taps")
    usual = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 8
    same = taps.shape == usual.shape and torch.allclose(taps, usual, atol=1e-5)
    return (1, 3, 3, 1) if same else tuple(taps.tolist())
