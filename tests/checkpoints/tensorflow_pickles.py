# SPDX-License-Identifier: Apache-2.0
"""Writes our networks as pickles in the layout of NVIDIA's TensorFlow repositories."""

import numpy as np

from checkpoints.nvidia_pickles import NATIVE, EasyDict, dump

SOURCE = "raise AssertionError('the text in place of source was run')\n"
# Defaults of their functions, which a file need not record.
DEFAULTS = dict(
    latent_size=512,
    dlatent_size=512,
    label_size=0,
    num_channels=3,
    resolution=1024,
    mapping_layers=8,
    fmap_base=16 << 10,
    fmap_max=512,
    resample_kernel=[1, 3, 3, 1],
    conv_clamp=None,
    num_fp16_res=0,
    w_avg_beta=0.995,
    dlatent_avg_beta=0.995,
    mbstd_group_size=4,
    mbstd_num_features=1,
)
LAYERS_G = {"conv0": "Conv0_up", "conv1": "Conv1", "torgb": "ToRGB", "skip": "Skip"}
LAYERS_D = {"fromrgb": "FromRGB", "conv0": "Conv0", "conv1": "Conv1_down", "skip": "Skip"}


class Network:
    """Of dnnlib."""

    __module__ = "dnnlib.tflib.network"

    def __init__(self, **state):
        self.__dict__.update(state)

    def __setstate__(self, state):
        raise AssertionError("an object of theirs was made")


def write(path, networks, protocol=4, core=NATIVE, **how):
    """Write a tuple of {"G": ours, "D": ours, "G_ema": ours}; None or absent is None in it.

    Args: how: for `published`. Returns: path.
    """
    root = [networks.get(name) for name in ("G", "D", "G_ema")]
    return write_root(path, tuple(n and published(n, **how) for n in root), protocol, core)


def write_root(path, root, protocol=4, core=NATIVE):
    """Write any value that holds `Network`s. Returns: path."""
    return dump(path, root, protocol, core, classes=[Network])


def published(network, nested=True, version=5, source=SOURCE, settings=None, unrecorded=(), **how):
    """`Network` of one of our networks.

    Args:
        nested: whether mapping and synthesis have their variables, or the outer network all.
        version: 4 StyleGAN2, 5 ADA; the name of a setting depends on it.
        settings: recorded arguments that differ.
        unrecorded: names of those that are left out, beside their defaults.
        how: for `variables_G` and `variables_D`.
    """
    is_D = type(network).__name__ == "Discriminator"
    values = (variables_D if is_D else variables_G)(network, **how)
    given = arguments(network.config, is_D, version) | (settings or {})
    given = {k: v for k, v in given.items() if not _is_default(k, v) and k not in unrecorded}
    about = dict(version=version, build_module_src=source, build_func_name="main")
    parts = EasyDict()
    for part in () if is_D else ("synthesis", "mapping"):
        own = {k: v for k, v in values.items() if k.startswith(f"{part}/")} if nested else {}
        values = {k: v for k, v in values.items() if k not in own}
        own = [(k.removeprefix(f"{part}/"), v) for k, v in own.items()]
        rest = dict(static_kwargs=EasyDict(given), components=EasyDict(), variables=own)
        parts[part] = Network(name=f"G_{part}", **about, **rest)
    rest = dict(static_kwargs=EasyDict(given), components=parts, variables=list(values.items()))
    return Network(name="D" if is_D else "G", **about, **rest)


def arguments(c, is_D, version=5):
    """What their function was called with; numbers of NumPy among them."""
    given = dict(
        resolution=np.int64(c.resolution[0]),
        num_channels=c.channels,
        label_size=c.c_dim,
        fmap_base=c.channel_base // 2,
        fmap_max=np.int32(c.channel_max),
        architecture=c.architecture,
        resample_kernel=list(c.resample_filter),
        conv_clamp=c.conv_clamp,
        num_fp16_res=c.low_precision_blocks,
    )
    if is_D:
        rest = dict(mbstd_group_size=c.mbstd_group, mbstd_num_features=c.mbstd_channels)
        mapping = dict(mapping_layers=c.mapping_layers, mapping_lrmul=0.01) if c.c_dim else {}
        return {**given, **rest, **mapping}
    beta = {4: "dlatent_avg_beta", 5: "w_avg_beta"}[version]
    widths = dict(latent_size=c.z_dim, dlatent_size=c.w_dim, mapping_layers=c.mapping_layers)
    return {**given, **widths, beta: np.float64(c.w_avg_beta)}


def variables_G(G, first="Conv", lr_mult=0.01):
    """{their full name: array}. first: name of the convolution at 4x4."""
    ours = _arrays(G)
    theirs = {"lod": np.float32(0), "dlatent_avg": ours["mapping.w_avg"]}
    theirs |= _dense(ours, "mapping.embed", "mapping/LabelEmbed")
    for i in range(G.config.mapping_layers):
        theirs |= _dense(ours, f"mapping.fc{i}", f"mapping/Dense{i}", 0.01 / lr_mult)
    theirs["synthesis/4x4/Const/const"] = ours["synthesis.b4.const"][np.newaxis]
    for i, r in enumerate(G.synthesis.resolutions):
        for layer, name in LAYERS_G.items():
            block, scope = f"synthesis.b{r}.{layer}", f"synthesis/{r}x{r}/{name}"
            if r == 4 and layer == "conv1":
                scope = f"synthesis/4x4/{first}"
            theirs |= _convolution(ours, block, scope, up=layer in ("conv0", "skip"))
            if f"{block}.affine.weight" in ours:
                theirs[f"{scope}/mod_weight"] = ours[f"{block}.affine.weight"].T
                theirs[f"{scope}/mod_bias"] = ours[f"{block}.affine.bias"] - 1
            if f"{block}.noise_const" in ours:
                k = 2 * i - (layer == "conv0")
                theirs[f"synthesis/noise{k}"] = ours[f"{block}.noise_const"][None, None]
                theirs[f"{scope}/noise_strength"] = ours[f"{block}.noise_strength"][0]
    return theirs


def variables_D(D, lr_mult=0.01, **ignored):
    """{their full name: array}."""
    ours = _arrays(D)
    theirs = {"lod": np.float32(0), **_dense(ours, "mapping.embed", "LabelEmbed")}
    for i in range(D.config.mapping_layers):
        theirs |= _dense(ours, f"mapping.fc{i}", f"Mapping{i}", 0.01 / lr_mult)
    for r in (*D.resolutions, 4):
        for layer, name in LAYERS_D.items():
            theirs |= _convolution(ours, f"b{r}.{layer}", f"{r}x{r}/{name}")
    theirs |= _convolution(ours, "b4.conv", "4x4/Conv")
    theirs |= _dense(ours, "b4.fc", "4x4/Dense0")
    return theirs | _dense(ours, "b4.out", "Output")


def _is_default(name, value):
    return not isinstance(value, np.ndarray) and name in DEFAULTS and DEFAULTS[name] == value


def _arrays(network):
    return {k: v.detach().numpy() for k, v in network.state_dict().items()}


def _dense(ours, layer, scope, gain=1.0):
    if f"{layer}.weight" not in ours:
        return {}
    weight, bias = (ours[f"{layer}.{part}"] * np.float32(gain) for part in ("weight", "bias"))
    return {f"{scope}/weight": weight.T, f"{scope}/bias": bias}


def _convolution(ours, layer, scope, up=False):
    if f"{layer}.weight" not in ours:
        return {}
    weight = ours[f"{layer}.weight"].transpose(2, 3, 1, 0)
    weight = weight[::-1, ::-1] if up else weight
    result = {f"{scope}/weight": weight}
    if f"{layer}.bias" in ours:
        result[f"{scope}/bias"] = ours[f"{layer}.bias"]
    return result
