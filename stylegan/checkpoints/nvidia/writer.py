# SPDX-License-Identifier: Apache-2.0
"""Writes networks as a .pkl in the layout of NVIDIA's StyleGAN3 repository, without any code in it.

NVIDIA's own files carry the source text of every module, which their loader runs. These hold the
modules' attributes and tensors and, for each module, the name of its class, which the program that
loads them has to supply itself. They are read by

- this package;
- NVIDIA's stylegan3 repository and programs derived from it, run from their folder, so that
  `training.networks_stylegan2` and `training.networks_stylegan3` are theirs. That follows from the
  published layout and was never tried with their code, whose licence keeps it out of here. Their
  loader asks for D as well, so a file without D serves those alone that take G_ema by themselves;
- not NVIDIA's StyleGAN2-ADA repository, where these modules are named otherwise.
"""

from stylegan.checkpoints.nvidia.layers import (
    block_sizes,
    channel_rule,
    conv,
    dense,
    half_blocks,
    input3,
    is_half,
    layer2,
    layer3,
    mapping,
    module,
    torgb2,
    unusual,
)
from stylegan.checkpoints.pickle.writer import dump
from stylegan.config import DiscriminatorConfig, GeneratorConfig, Stylegan3Config
from stylegan.errors import UserError
from stylegan.files import whole_file
from stylegan.models.sizes import channels_of
from stylegan_ops import setup_filter

READERS = (
    "stylegan, and NVIDIA's stylegan3 repository or programs derived from it when run from their "
    "folder (by its published layout; not tried); not stylegan2-ada-pytorch"
)
FUSED = "inference_only"  # when their modulated convolutions fuse; what their training sets


def write(networks, file):
    """Write G, D and G_ema, tensor by tensor.

    Of G and G_ema the one stands for the other if that is missing; D may be missing. Their smallest
    block is always in float32, and their other low-precision blocks are in float16: networks of
    another `precision` have none.

    Args:
        networks: `Networks`, or an object with its config, meta, G, D and G_ema.
        file: a path, where the file appears once it is complete, or a binary file.
    Returns: lines that say which programs can read it, and what it lacks.
    Raises: UserError for what their classes do not have; nothing is written then.
    """
    root = _root(networks)
    if hasattr(file, "write"):
        dump(root, file)
        return readers(networks)
    with whole_file(file) as part, part.open("wb") as f:
        dump(root, f)
    return readers(networks)


def readers(networks):
    """Lines that say which programs can read a written file, and what it lacks."""
    lines = [f"read by {READERS}"]
    if networks.D is None:
        lines.append(
            "no discriminator is in it, which NVIDIA's loader asks for: only for programs "
            "that take G_ema by itself"
        )
    if networks.meta.get("augment_p"):
        lines.append("the state of ADA (p {:.3g}) is not in it".format(networks.meta["augment_p"]))
    return lines


def _root(networks):
    found = {name: getattr(networks, name) for name in ("G", "G_ema")}
    generators = {name: G for name, G in found.items() if G is not None}
    if not generators:
        raise UserError("G", "expected networks with a generator, got none")
    batch = networks.config.train.batch or 32
    written = {name: _generator(G, batch) for name, G in generators.items()}
    only = next(iter(written.values()))
    return {
        "training_set_kwargs": _data(networks, next(iter(generators.values())).config),
        "G": written.get("G", only),
        "D": None if networks.D is None else _discriminator(networks.D),
        "G_ema": written.get("G_ema", only),
        "augment_pipe": None,
    }


def _data(networks, config):
    """Arguments of their data set: those of their file, if the networks came from one."""
    about = networks.meta.get("dataset") or {}
    arguments = about.get("arguments") or {}
    if "class_name" in arguments:
        return dict(arguments)
    return {
        "class_name": "training.dataset.ImageFolderDataset",
        "path": about.get("name"),
        "use_labels": config.c_dim > 0,
        "max_size": about.get("images"),
        "xflip": networks.config.data.mirror,
        "resolution": config.resolution[0],
    }


def _generator(G, batch):
    c = G.config
    make = {GeneratorConfig: _stylegan2, Stylegan3Config: _stylegan3}.get(type(c))
    if make is None:
        kind = getattr(c, "model", type(G).__name__)
        raise UserError("G", f"expected a generator of StyleGAN2 or StyleGAN3, got {kind}")
    line, synthesis, given = make(G, c, batch)
    attributes = {"z_dim": c.z_dim, "c_dim": c.c_dim, "w_dim": c.w_dim, **_image(c)}
    of_mapping = {"num_layers": c.mapping_layers, **unusual(w_avg_beta=c.w_avg_beta)}
    children = {
        "synthesis": synthesis,
        "mapping": mapping(line, G.mapping, c.w_dim, **of_mapping),
    }
    kwargs = {**attributes, "mapping_kwargs": of_mapping, **given}
    attributes["num_ws"] = G.num_ws
    return module(line, "Generator", attributes, None, children, (), kwargs)


def _stylegan2(G, c, batch):
    """(line, synthesis, its arguments that the generator was given)."""
    sizes = block_sizes("G", c)
    half = half_blocks(c, sizes)
    of_blocks = {
        **unusual(**_fields(c, "conv_clamp", "resample_filter", "use_noise")),
        **({} if c.architecture == "skip" else {"architecture": c.architecture}),
        "fused_modconv_default": FUSED,
    }
    given = {**channel_rule("G", c, sizes), **unusual(num_fp16_res=half), **of_blocks}
    shared = {"w_dim": c.w_dim, **_image(c)}
    attributes = {
        **shared,
        "img_resolution_log2": sizes[-1].bit_length() - 1,
        "num_fp16_res": half,
        "block_resolutions": sizes,
        "num_ws": G.num_ws,
    }
    blocks = {}
    for size in sizes:
        block = getattr(G.synthesis, f"b{size}")
        blocks[f"b{size}"] = _block2(block, c, size, size << half > sizes[-1], of_blocks)
    kwargs = {**shared, **given}
    synthesis = module("stylegan2", "SynthesisNetwork", attributes, None, blocks, (), kwargs)
    return "stylegan2", synthesis, given


def _block2(block, c, size, half, given):
    first = size == 4
    shared = {
        "w_dim": c.w_dim,
        "resolution": size,
        "img_channels": c.channels,
        "is_last": size == c.resolution[0],
        "use_fp16": half and not first,
    }
    args = 0 if first else channels_of(size // 2, c), channels_of(size, c)
    attributes = {
        "in_channels": args[0],
        **shared,
        "architecture": c.architecture,
        "channels_last": False,
        "fused_modconv_default": FUSED,
        "num_conv": block.num_conv,
        "num_torgb": int(hasattr(block, "torgb")),
    }
    tensors = {"const": block.const} if first else {}
    tensors["resample_filter"] = setup_filter(c.resample_filter)
    children = {}
    for name in ("conv1",) if first else ("conv0", "conv1"):
        children[name] = layer2(getattr(block, name), c, size, c.resample_filter)
    if hasattr(block, "torgb"):
        children["torgb"] = torgb2(block.torgb, c)
    if hasattr(block, "skip"):
        children["skip"] = conv(block.skip, c.resample_filter, channels_last=False)
    kwargs = {**shared, **given}
    return module("stylegan2", "SynthesisBlock", attributes, tensors, children, args, kwargs)


def _stylegan3(G, c, batch):
    """(line, synthesis, its arguments that the generator was given)."""
    half = c.low_precision_blocks if is_half(c) else 0
    beta = 0.5 ** (batch / (c.magnitude_ema_kimg * 1000))
    of_layers = {
        "magnitude_ema_beta": beta,
        **unusual(
            **_fields(c, "conv_kernel", "filter_size", "lrelu_upsampling", "conv_clamp"),
            use_radial_filters=c.radial_filters,
        ),
    }
    given = {
        "channel_base": c.channel_base * c.channel_factor,
        "channel_max": c.channel_max * c.channel_factor,
        **unusual(
            **_fields(c, "num_layers", "num_critical", "output_scale"),
            **_fields(c, "first_cutoff", "first_stopband", "last_stopband_rel"),
            margin_size=c.margin,
            num_fp16_res=half,
        ),
        **of_layers,
    }
    shared = {"w_dim": c.w_dim, **_image(c)}
    names = list(G.synthesis.layer_names)
    attributes = {
        **shared,
        "num_ws": G.num_ws,
        **_fields(c, "num_layers", "num_critical", "output_scale"),
        "margin_size": c.margin,
        "num_fp16_res": half,
        "layer_names": names,
    }
    children = {"input": input3(G.synthesis.input, c)}
    for i, name in enumerate(names):
        critical = i >= c.num_layers - c.num_critical
        layer = getattr(G.synthesis, name)
        children[name] = layer3(layer, c, critical, half, beta, of_layers)
    kwargs = {**shared, **given}
    synthesis = module("stylegan3", "SynthesisNetwork", attributes, None, children, (), kwargs)
    return "stylegan3", synthesis, given


def _discriminator(D):
    c = D.config
    if type(c) is not DiscriminatorConfig:
        raise UserError("D", f"expected a discriminator of StyleGAN2, got {type(D).__name__}")
    sizes = block_sizes("D", c)
    half = half_blocks(c, sizes)
    attributes = {"c_dim": c.c_dim, **_image(c)}
    custom = unusual(resample_filter=c.resample_filter)
    of_mapping = {} if c.mapping_layers == 8 else {"num_layers": c.mapping_layers}
    std = {"mbstd_group_size": c.mbstd_group}
    if c.mbstd_channels != 1:
        std["mbstd_num_channels"] = c.mbstd_channels
    kwargs = {
        **attributes,
        **({} if c.architecture == "resnet" else {"architecture": c.architecture}),
        **channel_rule("D", c, sizes),
        "num_fp16_res": half,
        "conv_clamp": c.conv_clamp,
        "block_kwargs": {"freeze_layers": 0, **custom},
        "mapping_kwargs": of_mapping,
        "epilogue_kwargs": std,
    }
    children, first_layer = {}, 0
    for size in sizes[:0:-1]:
        block = getattr(D, f"b{size}")
        use = size << half > sizes[-1]
        children[f"b{size}"] = _block_d(block, c, size, use, first_layer, custom)
        first_layer += len(list(block.children()))
    if c.c_dim:
        of_mapping = {"w_avg_beta": None, **of_mapping}
        children["mapping"] = mapping("stylegan2", D.mapping, D.cmap_dim, **of_mapping)
    children["b4"] = _epilogue(D.b4, c, D.cmap_dim, std)
    attributes["img_resolution_log2"] = sizes[-1].bit_length() - 1
    attributes["block_resolutions"] = sizes[:0:-1]
    return module("stylegan2", "Discriminator", attributes, None, children, (), kwargs)


def _block_d(block, c, size, half, first_layer, custom):
    children = {}
    for name in ("fromrgb", "conv0", "conv1", "skip"):
        if hasattr(block, name):
            layer = getattr(block, name)
            children[name] = conv(layer, c.resample_filter, trainable=True, channels_last=False)
    shared = {
        "resolution": size,
        "img_channels": c.channels,
        "first_layer_idx": first_layer,
        "architecture": c.architecture,
        "use_fp16": half,
    }
    channels = channels_of(size, c)
    args = 0 if size == c.resolution[0] else channels, channels, channels_of(size // 2, c)
    attributes = {"in_channels": args[0], **shared}
    attributes |= {"channels_last": False, "num_layers": len(children)}
    kwargs = {**shared, "freeze_layers": 0, "conv_clamp": c.conv_clamp, **custom}
    tensors = {"resample_filter": setup_filter(c.resample_filter)}
    return module("stylegan2", "DiscriminatorBlock", attributes, tensors, children, args, kwargs)


def _epilogue(b4, c, cmap_dim, std):
    channels = channels_of(4, c)
    shared = {
        "cmap_dim": cmap_dim,
        "resolution": 4,
        "img_channels": c.channels,
        "architecture": c.architecture,
    }
    attributes, children = {"in_channels": channels, **shared}, {}
    if hasattr(b4, "fromrgb"):
        children["fromrgb"] = conv(b4.fromrgb, c.resample_filter)
    if c.mbstd_channels:
        sizes = {"group_size": c.mbstd_group, "num_channels": c.mbstd_channels}
        children["mbstd"] = module("stylegan2", "MinibatchStdLayer", sizes, kwargs=sizes)
    else:
        attributes["mbstd"] = None
    children["conv"] = conv(b4.conv, c.resample_filter)
    children |= {k: dense("stylegan2", getattr(b4, k)) for k in ("fc", "out")}
    args, kwargs = (channels,), {**shared, **std, "conv_clamp": c.conv_clamp}
    name = "DiscriminatorEpilogue"
    return module("stylegan2", name, attributes, None, children, args, kwargs)


def _image(c):
    return {"img_resolution": c.resolution[0], "img_channels": c.channels}


def _fields(c, *names):
    return {name: getattr(c, name) for name in names}
