# SPDX-License-Identifier: Apache-2.0
"""Pickles of NVIDIA's TensorFlow repositories: StyleGAN2 and StyleGAN2-ADA; StyleGAN1 as tensors.

A network is its variables by name, the arguments that it was constructed with, the networks that it
is composed of, each the same again, and source text, which nobody reads here. TensorFlow has the
axes of a weight in the reverse order (convolutions k, k, in, out), and its convolution that
up-samples is the transpose of one, which sees the weight rotated by half a turn.
"""

import re
import struct

import torch

from stylegan.checkpoints.arguments import Arguments, show
from stylegan.checkpoints.formats import Checkpoint, fresh_discriminator, widths_of
from stylegan.checkpoints.metadata import recorded
from stylegan.checkpoints.pickle.nodes import MOST, Node
from stylegan.checkpoints.pickle.source import Array, Derived, storage_of
from stylegan.config import Config, DiscriminatorConfig, GeneratorConfig

FORMAT = "NVIDIA TensorFlow .pkl"
NETWORK = "dnnlib.tflib.network.Network"
PARTS = ("G", "D", "G_ema")  # the tuple, whose last is called Gs there
NAMES = re.compile(r"[\w.>/-]{1,100}", re.ASCII)  # of variables, with those of their networks
LR_MULT = 0.01  # of our mapping networks, a factor on their parameters
# Prefixes of variables, with those of ours. At 4x4 a generator has one convolution.
LAYERS_G = (
    (r"mapping/LabelEmbed", r"mapping.embed"),
    (r"mapping/Dense(\d+)", r"mapping.fc\1"),
    (r"synthesis/4x4/Conv", r"synthesis.b4.conv1"),
    (r"synthesis/(\d+)x\1/Conv0_up", r"synthesis.b\1.conv0"),
    (r"synthesis/(\d+)x\1/Conv1", r"synthesis.b\1.conv1"),
    (r"synthesis/(\d+)x\1/ToRGB", r"synthesis.b\1.torgb"),
    (r"synthesis/(\d+)x\1/Skip", r"synthesis.b\1.skip"),
)
LAYERS_D = (
    (r"LabelEmbed", r"mapping.embed"),
    (r"Mapping(\d+)", r"mapping.fc\1"),
    (r"(\d+)x\1/FromRGB", r"b\1.fromrgb"),
    (r"(\d+)x\1/Conv0", r"b\1.conv0"),
    (r"(\d+)x\1/Conv1_down", r"b\1.conv1"),
    (r"(\d+)x\1/Skip", r"b\1.skip"),
    (r"4x4/Conv", r"b4.conv"),
    (r"4x4/Dense0", r"b4.fc"),
    (r"Output", r"b4.out"),
)
OTHERS = {"dlatent_avg": "mapping.w_avg", "synthesis/4x4/Const/const": "synthesis.b4.const"}
KINDS = {
    "weight": "weight",
    "bias": "bias",
    "mod_weight": "affine.weight",
    "mod_bias": "affine.bias",
    "noise_strength": "noise_strength",
}
LEADING = {"const": 1, "noise_const": 2}  # dimensions of size 1 that ours are without


def recognises(root):
    """Whether this is the value in such a file."""
    return type(root) is tuple and any(type(n) is Node and n.kind == NETWORK for n in root)


def read(root):
    """The `Checkpoint` of the value in such a file.

    Raises: ValueError if it holds no networks or something in their place.
    """
    if len(root) != len(PARTS):
        raise ValueError(f"expected a tuple of G, D and Gs, got {len(root)} values")
    nodes = {name: node for name, node in zip(PARTS, root) if node is not None}
    for name, node in nodes.items():
        if type(node) is not Node or node.kind != NETWORK or type(node.state) is not dict:
            raise ValueError(f"{name}: expected a {NETWORK}, got {show(node)}")
    order = [name for name in ("G_ema", "G", "D") if name in nodes]
    stored, settings = {}, {}
    for name in order:
        stored[name], given = _network(nodes[name], name)
        settings[name] = Arguments(given, name)
    result = Checkpoint(FORMAT, "unknown", stored)
    main = order[0]
    names = {"resolution": "resolution", "channels": "num_channels"}
    result.recorded = recorded(settings[main].values, **names)
    result.family, result.reason = _kind(nodes[main], stored[main])
    if result.reason:
        return result
    try:
        result.tensors = {name: _ours(stored[name], settings[name]) for name in order}
        G = _generator(result.tensors[main], settings[main])
        if "D" in nodes:
            D = _discriminator(result.tensors["D"], settings["D"])
        else:
            D = fresh_discriminator(G)
        result.config, result.family = Config(G=G, D=D), G.title
        result.check()
    except ValueError as e:
        result.fail(e)
        return result
    result.number_classes()
    return result


def _network(node, name):
    """({full name: `Array`}, recorded arguments) of a network with its components.

    Where two have the same variable or argument, that of the outer network holds.
    Raises: ValueError for what is no tree of networks.
    """
    variables, settings, count = {}, {}, 0
    todo = [(node, "")]
    for node, prefix in todo:
        if type(node) is not Node or node.kind != NETWORK or type(node.state) is not dict:
            raise ValueError(f"{name}: {prefix[:-1]} is no network")
        own, parts = node.state.get("variables"), node.state.get("components", {})
        given = node.state.get("static_kwargs", {})
        if type(own) is not list or type(parts) is not dict or type(given) is not dict:
            raise ValueError(f"{name}: {prefix[:-1] or 'it'} lacks variables or components")
        count += 1 + len(own) + len(parts) + len(given)
        if count > MOST:
            raise ValueError(f"{name}: more than {MOST:,} variables, components and arguments")
        for key, value in given.items():
            settings.setdefault(key, value)
        for pair in own:
            if type(pair) is not tuple or len(pair) != 2:
                raise ValueError(f"{name}: a variable that is no pair of name and array")
            full = _full(prefix, pair[0], name)
            variables.setdefault(full, _array(pair[1], f"{name}.{full}"))
        todo += [(part, _full(prefix, key, name) + "/") for key, part in parts.items()]
    return variables, settings


def _full(prefix, name, where):
    """The name of a variable or component from the outermost network on."""
    full = prefix + name if type(name) is str else ""
    if not NAMES.fullmatch(full):
        raise ValueError(f"{where}: a name that no variable has, {ascii(full)[:120]}")
    return full


def _array(value, where):
    """An `Array`; numbers without a dimension come as Python's."""
    if type(value) in (int, float):
        try:
            return Array(storage_of(struct.pack("<f", value), torch.float32), 0, (), ())
        except (OverflowError, struct.error):
            raise ValueError(f"{where}: {value:.3g} is no float32") from None
    if not isinstance(value, Array):
        raise ValueError(f"{where}: expected an array, got {show(value)}")
    return value


def _kind(node, variables):
    """(family, why its networks cannot be built here or None)."""
    version = Arguments(node.state, "G").integer("version", 4, 0, 1000)
    if any("/StyleMod/" in name for name in variables) or version <= 3:
        return "StyleGAN1", (
            "StyleGAN1's networks are not built here yet; its tensors can be written with --to "
            "safetensors"
        )
    if not any(name.endswith("/mod_weight") for name in variables):
        return "unknown", "these are no networks of StyleGAN2: no layer has mod_weight"
    if any(name.startswith("mapping/LabelConcat/") for name in variables):
        return "StyleGAN2", (
            "labels enter its mapping by LabelConcat, as in StyleGAN2 before ADA; the mapping here "
            "is ADA's, with LabelEmbed"
        )
    return "StyleGAN2", None


def _ours(variables, settings):
    """{our name: `Array` or `Derived`}; what we have no name for keeps its own."""
    is_D = settings.where == "D"
    gain = settings.number("mapping_lrmul", 0.1 if is_D else LR_MULT) / LR_MULT
    result = {}
    for name, array in variables.items():
        if name.rpartition("/")[2] == "lod":
            continue  # how far a network has grown; these do not grow
        ours = _name(name, LAYERS_D if is_D else LAYERS_G)
        if ours in result:
            raise ValueError(f"{settings.where} has {ours} twice, the second as {name}")
        result[ours] = _converted(array, ours, gain)
    return result


def _name(name, layers):
    """Our name of a variable, or its own."""
    if name in OTHERS:
        return OTHERS[name]
    if match := re.fullmatch(r"synthesis/noise(\d{1,2})", name):
        k = int(match[1])  # 0 at 4x4, from there on two per resolution
        return f"synthesis.b{1 << (k + 5) // 2}.conv{1 - k % 2}.noise_const"
    layer, _, kind = name.rpartition("/")
    for pattern, ours in layers if kind in KINDS else ():
        if match := re.fullmatch(pattern, layer):
            return f"{match.expand(ours)}.{KINDS[kind]}"
    return name


def _converted(array, ours, gain):
    """A tensor of ours, by our name, from theirs, or theirs where its shape does not allow that.

    gain: their factor on the parameters of a mapping network, in ours.
    """
    layer, _, kind = ours.rpartition(".")
    shape, ones = array.shape, LEADING.get(kind, 0)
    gain = gain if re.fullmatch(r"mapping\.fc\d+", layer) else 1
    if ones and shape[:ones] == (1,) * ones:
        return Derived(array, shape[ones:], lambda x: x.reshape(shape[ones:]))
    if kind == "weight" and len(shape) == 4:
        flips = (0, 1) if re.fullmatch(r"synthesis\.b\d+\.(conv0|skip)", layer) else ()
        order = (3, 2, 0, 1)
        return Derived(array, [shape[i] for i in order], lambda x: x.flip(flips).permute(order))
    if kind == "weight" and len(shape) == 2:
        return Derived(array, shape[::-1], lambda x: x.t() * gain)
    if ours.endswith(".affine.bias"):
        return Derived(array, shape, lambda x: x.float() + 1)
    return array if gain == 1 else Derived(array, shape, lambda x: x * gain)


def _generator(tensors, given):
    blocks = _blocks(tensors, "synthesis.")
    top = f"synthesis.b{blocks[-1]}"
    labels = _size(tensors, "mapping.embed.weight", 0, 0)
    w_dim = _size(tensors, "synthesis.b4.conv1.affine.weight", 1)
    z_dim = _size(tensors, "mapping.fc0.weight", 1, w_dim + labels) - labels
    if z_dim < 1:
        raise ValueError(f"G: its mapping takes {labels} numbers of the label and {z_dim} of z")
    beta = "w_avg_beta" if "w_avg_beta" in given.values else "dlatent_avg_beta"
    still = given.any(beta, 0.995) is None  # the running mean stays as it is
    return GeneratorConfig(
        **_common(
            given, blocks, [_size(tensors, f"synthesis.b{r}.conv1.weight", 0) for r in blocks]
        ),
        channels=_same(given, "num_channels", _size(tensors, f"{top}.torgb.weight", 0)),
        z_dim=_same(given, "latent_size", z_dim),
        c_dim=_same(given, "label_size", _size(tensors, "mapping.embed.weight", 1, 0)),
        w_dim=_same(given, "dlatent_size", w_dim),
        mapping_layers=_same(given, "mapping_layers", _layers(tensors)),
        architecture=_architecture(tensors, given, "torgb", [f"synthesis.b{r}" for r in blocks]),
        use_noise=f"{top}.conv1.noise_strength" in tensors,
        w_avg_beta=1.0 if still else given.number(beta, 0.995, 0, 1),
    )


def _discriminator(tensors, given):
    blocks = _blocks(tensors)
    widths = [_size(tensors, "b4.conv.weight", 0)]
    widths += [_size(tensors, f"b{r}.conv0.weight", 0) for r in blocks if r > 4]
    c_dim = _same(given, "label_size", _size(tensors, "mapping.embed.weight", 1, 0))
    group = given.any("mbstd_group_size", 4)
    group = None if group is None else given.integer("mbstd_group_size", 4)
    features = 0 if group in (0, 1) else given.integer("mbstd_num_features", 1, 1)
    found = _size(tensors, "b4.conv.weight", 1) - widths[0]
    if found != features or features and widths[0] % features:
        raise ValueError(
            f"D: {features} channels of minibatch statistics beside {widths[0]}, and the weight of "
            f"4x4/Conv is for {found}"
        )
    return DiscriminatorConfig(
        **_common(given, blocks, widths),
        channels=_same(given, "num_channels", _size(tensors, f"b{blocks[-1]}.fromrgb.weight", 1)),
        c_dim=c_dim,
        architecture=_architecture(tensors, given, "fromrgb", [f"b{r}" for r in blocks]),
        mapping_layers=_same(given, "mapping_layers", _layers(tensors)) if c_dim else 8,
        mbstd_group=None if group is None else max(group, 1),
        mbstd_channels=features,
    )


def _common(given, blocks, widths):
    """Settings that both networks have. Raises: ValueError for one that ours have not."""
    given.choice("nonlinearity", "lrelu", ("lrelu",))
    given.choice("mapping_nonlinearity", "lrelu", ("lrelu",))
    if not given.flag("normalize_latents", True):
        raise ValueError(f"{given.where}: its mapping does not normalize z")
    base = 2 * given.integer("fmap_base", 16384, 1, 1 << 24)
    most = given.integer("fmap_max", 512, 1, 1 << 24)
    return dict(
        resolution=_same(given, "resolution", blocks[-1]),
        channel_base=base,
        channel_max=most,
        widths=widths_of(widths, base, most),
        resample_filter=given.taps("resample_kernel", (1, 3, 3, 1)),
        conv_clamp=given.optional("conv_clamp", None),
        low_precision_blocks=min(given.integer("num_fp16_res", 0, 0, 64), len(blocks) - 1),
    )


def _same(given, name, found):
    """A size that the tensors show. Raises: ValueError if another one is recorded."""
    if given.any(name, None) not in (None, found):
        raise ValueError(
            f"{given.where}: {name} is {show(given.any(name))}, and the tensors are for {found}"
        )
    return found


def _size(tensors, name, axis, otherwise=None):
    """The size of a tensor of ours along an axis; `otherwise` if there is no such tensor."""
    if name not in tensors and otherwise is not None:
        return otherwise
    shape = tensors[name].shape if name in tensors else ()
    if axis >= len(shape) or not shape[axis]:
        raise ValueError(f"there is no {name}, or its shape cannot be: {str(list(shape))[:60]}")
    return shape[axis]


def _blocks(tensors, prefix=""):
    """Resolutions of the blocks, from the smallest."""
    pattern = re.compile(re.escape(prefix) + r"b([1-9]\d{0,4})\.\w+\.weight")
    found = {int(m[1]) for m in map(pattern.fullmatch, tensors) if m}
    if not found or max(found) > 1 << 14:
        raise ValueError("no layers of StyleGAN2 (4x4, 8x8, ...)")
    return sorted(found)


def _layers(tensors):
    """Number of the fully connected layers of a mapping network."""
    return sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in tensors)


def _architecture(tensors, given, rgb, blocks):
    """skip, resnet or orig, from the layers that there are."""
    if any(f"{block}.skip.weight" in tensors for block in blocks):
        found = "resnet"
    else:
        every = all(f"{block}.{rgb}.weight" in tensors for block in blocks)
        found = "skip" if every else "orig"
    return _same(given, "architecture", found)
