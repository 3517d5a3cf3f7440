# SPDX-License-Identifier: Apache-2.0
"""Pickles of NVIDIA's PyTorch repositories: StyleGAN2-ADA, StyleGAN3 and what descends from them.

Their networks come as the attributes of modules with the source text that made them; the
attributes say all that is needed. Where both the attributes and the recorded constructor arguments
tell a setting, the attribute is what the network ran with.
"""

import re

import numpy as np
import torch

from stylegan.checkpoints.arguments import Arguments
from stylegan.checkpoints.formats import Checkpoint, fresh_discriminator, widths_of
from stylegan.checkpoints.metadata import data_set, own_meta, recorded
from stylegan.checkpoints.pickle.nodes import Node, tensors_of
from stylegan.checkpoints.pickle.source import Derived
from stylegan.config import (
    ARCHITECTURES,
    Config,
    DiscriminatorConfig,
    GeneratorConfig,
    Stylegan3Config,
)
from stylegan.models.stylegan3_filters import geometry
from stylegan_ops import setup_filter

FORMAT = "NVIDIA PyTorch .pkl"
NETWORKS = ("G_ema", "G", "D")
POSITIONAL = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
POSITIONAL_D = ("c_dim", "img_resolution", "img_channels")
MOST_BLOCKS = 16  # of StyleGAN2, which is 4 px to 131072
LR_MULTIPLIER = 0.01  # of our mapping networks
MOST_TAPS = 256  # of a filter of StyleGAN3; published ones have 24
# Defaults that differ between the line of StyleGAN2-ADA and that of StyleGAN3.
ADA = {"num_fp16_res": 0, "conv_clamp": None, "w_avg_beta": 0.995}
SINCE_STYLEGAN3 = {"num_fp16_res": 4, "conv_clamp": 256, "w_avg_beta": 0.998}


def recognises(root):
    """Whether this is the value in such a file."""
    return type(root) is dict and any(type(root.get(name)) is Node for name in NETWORKS)


def read(root):
    """The `Checkpoint` of the value in such a file.

    Raises: ValueError if it holds no networks or something in their place.
    """
    nodes = {name: root[name] for name in NETWORKS if root.get(name) is not None}
    stored = {name: tensors_of(node, name) for name, node in nodes.items()}
    result = Checkpoint(FORMAT, "", stored, meta=_meta(root))
    main = nodes.get("G_ema") or nodes.get("G")
    children = main.holder("_modules") if main else {}
    if main:
        arguments = {**main.arguments(POSITIONAL), **main.state}
        names = {"resolution": "img_resolution", "channels": "img_channels"}
        result.recorded = recorded(arguments, **names)
    if not {"mapping", "synthesis"} <= children.keys():
        r3gan = any("R3GAN" in kind for node in nodes.values() for kind in kinds_of(node))
        result.family = "R3GAN" if r3gan else "unknown"
        result.reason = (
            "R3GAN's networks are not built here yet"
            if r3gan
            else "no networks of StyleGAN2 or StyleGAN3: there is no mapping and synthesis"
        )
        return result
    try:
        G, line = _generator(main, stored["G_ema" if "G_ema" in stored else "G"])
        if "D" in nodes:
            D = _discriminator(nodes["D"], stored["D"], line)
        else:
            D = fresh_discriminator(G)
        result.config = Config(G=G, D=D)
        result.family = G.title
        result.tensors = {
            name: _tensors(name, nodes[name], tensors) for name, tensors in stored.items()
        }
        for name, tensors in stored.items():
            _check_filters(name, tensors, (D if name == "D" else G))
        result.check()
    except ValueError as e:
        result.family = result.family or "unknown"
        result.fail(e)
        return result
    result.number_classes()
    return result


def kinds_of(node):
    """Class names of the modules under a node that `tensors_of` has read."""
    todo = [node]
    while todo:
        node = todo.pop()
        yield node.kind
        todo += [child for child in node.holder("_modules").values() if child is not None]


def _meta(root):
    meta = {}
    if type(root.get("training_set_kwargs")) is dict:
        meta["dataset"] = data_set(root["training_set_kwargs"])
    pipe = root.get("augment_pipe")
    if type(pipe) is Node:
        p = tensors_of(pipe, "augment_pipe").get("p")
        if p is not None and p.numel == 1:
            meta |= own_meta({"augment_p": float(p.read().reshape(()))})
    return meta


def _generator(node, tensors):
    """(settings, defaults of the line that it comes from)."""
    given = Arguments(node.arguments(POSITIONAL), "G")
    synthesis, mapping = node.child("synthesis"), node.child("mapping")
    of_mapping = given.nested("mapping_kwargs")
    line = ADA if "synthesis_kwargs" in given.values else SINCE_STYLEGAN3
    flat = Arguments({**given.values, **given.nested("synthesis_kwargs").values}, "G")
    resolution = flat.integer("img_resolution", low=4, high=1 << 14)
    common = dict(
        resolution=resolution,
        channels=flat.integer("img_channels"),
        z_dim=flat.integer("z_dim"),
        c_dim=flat.integer("c_dim"),
        w_dim=flat.integer("w_dim", low=1),
        mapping_layers=_layers(tensors, "mapping."),
        channel_base=flat.integer("channel_base", 32768, 1, 1 << 24),
        channel_max=flat.integer("channel_max", 512, 1, 1 << 24),
        w_avg_beta=_actual(mapping, of_mapping, "w_avg_beta").number(
            "w_avg_beta", line["w_avg_beta"], 0, 1
        ),
    )
    if "input" in synthesis.holder("_modules"):
        return _stylegan3(flat, synthesis, common), line
    blocks = _blocks(synthesis)
    top = synthesis.child(f"b{resolution}")
    layer = _actual(top.child("conv1"), flat, "conv_clamp", "activation")
    layer.choice("activation", "lrelu", ("lrelu",))
    widths = [_rows(tensors, f"synthesis.b{r}.conv1.weight") for r in blocks]
    config = GeneratorConfig(
        **common,
        widths=widths_of(widths, common["channel_base"], common["channel_max"]),
        architecture=_actual(top, flat, "architecture").choice(
            "architecture", "skip", ARCHITECTURES
        ),
        resample_filter=flat.taps("resample_filter", (1, 3, 3, 1)),
        conv_clamp=layer.optional("conv_clamp", line["conv_clamp"]),
        use_noise=f"synthesis.b{resolution}.conv1.noise_const" in tensors,
        low_precision_blocks=_low_precision(blocks, flat, line),
    )
    return config, line


def _stylegan3(flat, synthesis, common):
    own = synthesis.state
    names = ("num_layers", "num_critical", "margin_size", "output_scale", "num_fp16_res")
    flat = Arguments({**flat.values, **{k: own[k] for k in names if k in own}}, "G")
    layers = [k for k in synthesis.holder("_modules") if re.fullmatch(r"L\d+_\d+_\d+", k)]
    num_layers = flat.integer("num_layers", 14, 1, 64)
    if num_layers != len(layers) - 1:
        raise ValueError(f"G: num_layers is {num_layers}, and there are {len(layers)} layers")
    config = Stylegan3Config(
        **common,
        conv_clamp=_actual(synthesis.child(layers[0]), flat, "conv_clamp").optional(
            "conv_clamp", 256
        ),
        low_precision_blocks=flat.integer("num_fp16_res", 4, 0, 64),
        num_layers=num_layers,
        num_critical=flat.integer("num_critical", 2, 0, 64),
        first_cutoff=flat.number("first_cutoff", 2, 0.25, 1024),
        first_stopband=flat.number("first_stopband", 2**2.1, 0.5, 4096),
        last_stopband_rel=flat.number("last_stopband_rel", 2**0.3, 1, 16),
        margin=flat.integer("margin_size", 10, 0, 256),
        filter_size=flat.integer("filter_size", 6, 1, 64),
        lrelu_upsampling=flat.choice("lrelu_upsampling", 2, (1, 2, 4)),
        output_scale=flat.number("output_scale", 0.25),
        conv_kernel=flat.choice("conv_kernel", 3, (1, 3)),
        radial_filters=flat.flag("use_radial_filters", False),
    )
    _check_geometry(geometry(config))
    return config


def _check_geometry(layers):
    """Filters of extreme settings cannot be computed."""
    for g in layers:
        taps = max(g.up_taps, g.down_taps)
        if taps > MOST_TAPS:
            raise ValueError(f"G: {g.name} has filters of {taps} taps")
        with np.errstate(all="ignore"):
            filters = [f for f in g.filters() if f is not None]
        if not all(f.isfinite().all() for f in filters):
            raise ValueError(f"G: the settings of {g.name} give no filter")


def _discriminator(node, tensors, line):
    given = Arguments(node.arguments(POSITIONAL_D), "D")
    of_blocks, epilogue = given.nested("block_kwargs"), given.nested("epilogue_kwargs")
    resolution = given.integer("img_resolution", low=4, high=1 << 14)
    c_dim = given.integer("c_dim")
    blocks = _blocks(node)
    top = node.child(f"b{resolution}")
    layer = _actual(top.child("conv0"), given, "conv_clamp")
    for child, arguments in ((top.child("conv0"), of_blocks), (node.child("b4", "fc"), epilogue)):
        _actual(child, arguments, "activation").choice("activation", "lrelu", ("lrelu",))
    std = node.child("b4", "mbstd")
    own = {"group_size": "mbstd_group_size", "num_channels": "mbstd_num_channels"}
    actual = {theirs: std.state[name] for name, theirs in own.items() if name in std.state}
    epilogue = Arguments({**epilogue.values, **actual}, "D")
    base = given.integer("channel_base", 32768, 1, 1 << 24)
    most = given.integer("channel_max", 512, 1, 1 << 24)
    widths = [_rows(tensors, "b4.conv.weight")]
    widths += [_rows(tensors, f"b{r}.conv0.weight") for r in sorted(blocks) if r > 4]
    group = epilogue.any("mbstd_group_size", 4)
    return DiscriminatorConfig(
        resolution=resolution,
        channels=given.integer("img_channels"),
        c_dim=c_dim,
        architecture=_actual(top, given, "architecture").choice(
            "architecture", "resnet", ARCHITECTURES
        ),
        channel_base=base,
        channel_max=most,
        widths=widths_of(widths, base, most),
        resample_filter=of_blocks.taps("resample_filter", (1, 3, 3, 1)),
        conv_clamp=layer.optional("conv_clamp", line["conv_clamp"]),
        low_precision_blocks=_low_precision(blocks, given, line),
        mapping_layers=_layers(tensors, "mapping.") if c_dim else 8,
        mbstd_group=None if group is None else epilogue.integer("mbstd_group_size", 4, 1),
        mbstd_channels=epilogue.integer("mbstd_num_channels", 1),
    )


def _blocks(node):
    """{resolution: module} of the blocks of StyleGAN2, from the smallest."""
    blocks = node.holder("_modules").items()
    found = {int(k[1:]): child for k, child in blocks if re.fullmatch(r"b[1-9]\d{0,4}", k)}
    if not 0 < len(found) <= MOST_BLOCKS:
        raise ValueError("no blocks of StyleGAN2 (b4, b8, ...) and no layers of StyleGAN3")
    return dict(sorted(found.items()))


def _actual(node, arguments, *names):
    """`arguments` with those of `names` that the module itself knows."""
    state = node.state if type(node.state) is dict else {}
    known = {name: state[name] for name in names if name in state}
    return Arguments({**arguments.values, **known}, arguments.where)


def _low_precision(blocks, arguments, line):
    """How many blocks run in half precision; that of 4 px never does."""
    larger = [block for size, block in blocks.items() if size > 4 and type(block) is Node]
    flags = [block.get("use_fp16") for block in larger]
    if all(type(flag) is bool for flag in flags):
        return sum(flags)
    return min(arguments.integer("num_fp16_res", line["num_fp16_res"], 0, 64), len(larger))


def _tensors(name, node, stored):
    """Under our names, without what follows from the settings. A mapping network of another
    learning rate multiplier than ours, as NVIDIA's discriminators from TensorFlow have, keeps its
    outputs: its parameters are scaled."""
    result = {k: v for k, v in stored.items() if not k.endswith("resample_filter")}
    dense = [k for k in result if re.fullmatch(r"mapping\.fc\d+\.(weight|bias)", k)]
    if not dense:
        return result
    given = Arguments(node.arguments(POSITIONAL_D if name == "D" else POSITIONAL), name)
    arguments = given.nested("mapping_kwargs")
    layer = _actual(node.child("mapping", "fc0"), arguments, "activation", "bias_gain")
    layer.choice("activation", "lrelu", ("lrelu",))
    multiplier = layer.number("lr_multiplier", LR_MULTIPLIER, 1e-6, 1e6)
    factor = layer.number("bias_gain", multiplier, 1e-6, 1e6) / LR_MULTIPLIER
    if abs(factor - 1) > 1e-6:
        for key in dense:
            array = result[key]
            result[key] = Derived(array, array.shape, lambda x: x * factor)
    return result


def _layers(tensors, prefix):
    """Number of the fully connected layers of a mapping network."""
    return sum(bool(re.fullmatch(rf"{re.escape(prefix)}fc\d+\.weight", key)) for key in tensors)


def _rows(tensors, key):
    """Output channels of a layer."""
    if key not in tensors or not tensors[key].shape:
        raise ValueError(f"there is no {key}")
    return tensors[key].shape[0]


def _check_filters(name, tensors, config):
    """The low-pass filters in a file are those of its settings, where the network resamples; other
    layers have one that they do not use."""
    if not hasattr(config, "resample_filter"):
        return
    layer = "conv1" if name == "D" else "conv0"
    used = re.compile(rf"(synthesis\.)?b\d+\.(({layer}|skip)\.)?resample_filter")
    for key, array in tensors.items():
        if not used.fullmatch(key):
            continue
        expected = setup_filter(config.resample_filter, separable=len(array.shape) == 1)
        same = array.shape == tuple(expected.shape) and array.dtype.is_floating_point
        rounding = torch.finfo(array.dtype).eps if same else 0
        if not same or not torch.allclose(array.read().float(), expected, rounding, 1e-6):
            raise ValueError(f"{name}.{key} is another filter than {config.resample_filter}")
