# SPDX-License-Identifier: Apache-2.0
"""Writes our networks as pickles in the layout of NVIDIA's PyTorch repositories.

They are written by the pickle module, with real tensors. The functions that they name raise if they
are called, and so does the text in place of source code.
"""

import contextlib
import math
import pickle
import sys
import types
from collections import OrderedDict

import numpy as np
import torch

from stylegan.models import stylegan2
from stylegan_ops import setup_filter

SOURCE = "raise AssertionError('the text in place of source was run')\n"
ADA, STYLEGAN3 = "StyleGAN2-ADA", "StyleGAN3"  # the two repositories
DEFAULTS = {
    ADA: dict(num_fp16_res=0, conv_clamp=None, w_avg_beta=0.995),
    STYLEGAN3: dict(num_fp16_res=4, conv_clamp=256, w_avg_beta=0.998),
}
BOTH = dict(architecture="skip", resample_filter=[1, 3, 3, 1], use_noise=True)
OF_STYLEGAN3 = dict(
    num_layers=14,
    num_critical=2,
    first_cutoff=2,
    first_stopband=2**2.1,
    last_stopband_rel=2**0.3,
    margin_size=10,
    output_scale=0.25,
    filter_size=6,
    lrelu_upsampling=2,
    conv_kernel=3,
    use_radial_filters=False,
)
OURS = {"margin_size": "margin", "use_radial_filters": "radial_filters"}
HOOKS = ("_backward_hooks", "_forward_hooks", "_forward_pre_hooks", "_state_dict_hooks")
CORES = ("numpy._core", "numpy.core")  # the module of NumPy 2, and of NumPy 1
NATIVE = np.float64().__reduce__()[0].__module__.removesuffix(".multiarray")


def _never(module, name):
    """A function that pickles may name and that raises when it is called."""

    def never(*args, **kwargs):
        raise AssertionError(f"{module}.{name} was called")

    never.__module__, never.__name__, never.__qualname__ = module, name, name
    return never


class EasyDict(dict):
    """Of dnnlib."""

    __module__ = "dnnlib.util"


_reconstruct_persistent_obj = _never("torch_utils.persistence", "_reconstruct_persistent_obj")


class Persistent:
    """An object of one of their classes. Attributes: class_name, state."""

    source = SOURCE

    def __init__(self, class_name, state):
        self.class_name, self.state = class_name, state

    def __reduce__(self):
        meta = dict(type="class", version=6, module_src=self.source, class_name=self.class_name)
        return _reconstruct_persistent_obj, ({**meta, "state": self.state},)

    def child(self, path):
        """A module under it: "synthesis.b8.conv1"."""
        for name in path.split("."):
            self = self.state["_modules"][name]
        return self


class Pickler(pickle.Pickler):
    """Writes numbers and arrays of NumPy under the module name of NumPy 1 or NumPy 2."""

    def __init__(self, file, protocol, core):
        super().__init__(file, protocol)
        self.protocol, self.core = protocol, core

    def reducer_override(self, value):
        if self.core == NATIVE or not isinstance(value, (np.ndarray, np.generic)):
            return NotImplemented
        function, *rest = value.__reduce_ex__(self.protocol)
        module = f"{self.core}.{function.__module__.rpartition('.')[2]}"
        return (getattr(sys.modules[module], function.__name__), *rest)


@contextlib.contextmanager
def importable(*objects):
    """Make functions and classes importable under their `__module__`."""
    names = {thing.__module__ for thing in objects}
    names |= {name.partition(".")[0] for name in names} - sys.modules.keys()
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: types.ModuleType(name) for name in names})
    try:
        for thing in objects:
            setattr(sys.modules[thing.__module__], thing.__qualname__, thing)
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update({name: module for name, module in before.items() if module})


def dump(path, root, protocol=4, core=NATIVE, classes=()):
    """Write any value that holds `Persistent`s, or objects of further `classes`. Returns: path."""
    objects = [_reconstruct_persistent_obj, EasyDict, *classes]
    if core != NATIVE:
        names = ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")
        objects += [_never(*f"{core}.{name}".rsplit(".", 1)) for name in names]
    with importable(*objects), open(path, "wb") as f:
        Pickler(f, protocol, core).dump(root)
    return path


def write(path, networks, line=ADA, protocol=4, core=NATIVE, others=None, **how):
    """Write {"G_ema": network or None, ...}. Returns: path.

    Args: line: of which repository; others: further entries; how: for `published`.
    """
    root = {name: n and published(n, line, **how) for name, n in networks.items()}
    return dump(path, {**(others or {}), **root}, protocol, core)


def published(network, line=ADA, attributes=True, positional=False, tensor=None, **how):
    """A `Persistent` of a generator or discriminator.

    Args:
        attributes: whether the modules have more than their tensors; without, the arguments and the
            defaults of the line are all there is.
        positional: the first arguments are recorded without their names.
        tensor: function of every tensor, which gives the one to write.
        how: scalar_shape, of what has one number; freeze, how many layers of D are frozen.
    """
    shape, freeze = how.pop("scalar_shape", ()), how.pop("freeze", 0)
    assert not how
    c, tensor = network.config, tensor or torch.clone
    result = _module("", network, c, attributes, lambda t: tensor(t.detach()), shape)
    is_D = type(network).__name__ == "Discriminator"
    given = _arguments_D(c, line, freeze) if is_D else _arguments_G(c, line)
    names = list(given)[: 3 if is_D else 5] if positional else []
    first = tuple(given.pop(name) for name in names)
    result.state |= {"_init_args": first, "_init_kwargs": given}
    layers = [name for name, m in network.named_modules() if type(m).__name__ == "EqualConv2d"]
    for name in layers[:freeze]:
        state = result.child(name).state
        state["_buffers"] |= {k: v.data for k, v in state["_parameters"].items()}
        state["_parameters"] = OrderedDict()
    return result


def _arguments_G(c, line):
    """What the constructor was called with: as little as possible."""
    first = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
    first = dict(zip(first, (c.z_dim, c.c_dim, c.w_dim, c.resolution[0], c.channels)))
    mapping = EasyDict(num_layers=c.mapping_layers, w_avg_beta=c.w_avg_beta)
    factor = getattr(c, "channel_factor", 1)
    rest = EasyDict(channel_base=c.channel_base * factor, channel_max=c.channel_max * factor)
    rest |= {"conv_clamp": c.conv_clamp, "num_fp16_res": c.low_precision_blocks}
    of_model = OF_STYLEGAN3 if c.model == "stylegan3" else BOTH
    rest |= {name: _plain(getattr(c, OURS.get(name, name))) for name in of_model}
    defaults = DEFAULTS[line] | of_model
    mapping, rest = (_without(d, defaults) for d in (mapping, rest))
    rest = {"synthesis_kwargs": rest} if line == ADA else rest
    return {**first, "mapping_kwargs": mapping, **rest}


def _arguments_D(c, line, freeze):
    """The same of a discriminator."""
    first = ("c_dim", "img_resolution", "img_channels")
    first = dict(zip(first, (c.c_dim, c.resolution[0], c.channels)))
    rest = EasyDict(channel_base=c.channel_base, channel_max=c.channel_max)
    rest |= {"conv_clamp": c.conv_clamp, "num_fp16_res": c.low_precision_blocks}
    rest["architecture"] = c.architecture
    block = EasyDict(resample_filter=_plain(c.resample_filter), freeze_layers=freeze)
    if line == ADA and not freeze:
        del block["freeze_layers"]
    epilogue = dict(mbstd_group_size=c.mbstd_group, mbstd_num_channels=c.mbstd_channels)
    epilogue = EasyDict(_without(epilogue, dict(mbstd_group_size=4, mbstd_num_channels=1)))
    nested = dict(block_kwargs=_without(block, BOTH), epilogue_kwargs=epilogue)
    nested["mapping_kwargs"] = EasyDict(num_layers=c.mapping_layers) if c.c_dim else EasyDict()
    return {**first, **_without(rest, DEFAULTS[line] | {"architecture": "resnet"}), **nested}


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


def _without(values, defaults):
    """Those that are no defaults."""
    kept = {k: v for k, v in values.items() if k not in defaults or defaults[k] != v}
    return type(values)(kept)


def _module(name, m, config, attributes, tensor, shape):
    """`Persistent` of one of our modules and those under it."""

    def own(tensors):
        return OrderedDict(
            (k, tensor(v.reshape(shape) if k in ("noise_strength", "magnitude_ema") else v))
            for k, v in tensors.items()
            if v is not None and k not in m._non_persistent_buffers_set
        )

    buffers = own(m._buffers)
    if "filter" in m._buffers:  # ours have one only where they resample; theirs everywhere
        taps = [1, 3, 3, 1] if m.filter is None else config.resample_filter
        buffers["resample_filter"] = tensor(setup_filter(taps))
    class_name, known = _class_of(name, m, config)
    state = {
        "training": False,
        "_parameters": OrderedDict(
            (k, torch.nn.Parameter(v, requires_grad=False)) for k, v in own(m._parameters).items()
        ),
        "_buffers": buffers,
        "_non_persistent_buffers_set": set(),
        **{hooks: OrderedDict() for hooks in HOOKS},
        "_modules": OrderedDict(
            (k, _module(k, child, config, attributes, tensor, shape))
            for k, child in m.named_children()
        ),
        **(known if attributes else {}),
        "_init_args": (),
        "_init_kwargs": {},
    }
    return Persistent(class_name, state)


def _class_of(name, m, c):
    """(name of their class, its attributes) for one of our modules, c the config of the network."""
    kind, square = type(m).__name__, np.float64(math.sqrt(2))
    if kind == "EqualLinear":
        gains = dict(weight_gain=np.float64(m.weight_gain), bias_gain=m.lr_mult)
        return "FullyConnectedLayer", dict(activation=m.act, **gains)
    if kind == "EqualConv2d":
        sizes = dict(up=m.up, down=m.down, padding=m.padding, act_gain=square)
        bias = {} if "bias" in m._parameters else {"bias": None}
        return "Conv2dLayer", dict(activation=m.act, conv_clamp=m.clamp, **sizes, **bias)
    if kind in ("SynthesisBlock", "DiscriminatorBlock"):
        r, half = int(name[1:]), max(2 * c.resolution[0] >> c.low_precision_blocks, 8)
        flags = dict(use_fp16=r >= half, architecture=c.architecture, channels_last=False)
        return kind, dict(resolution=r, img_channels=c.channels, **flags)
    if kind == "MinibatchStd":
        return "MinibatchStdLayer", dict(group_size=m.group, num_channels=m.channels)
    if kind == "Epilogue":
        return "DiscriminatorEpilogue", dict(resolution=4, architecture=c.architecture)
    if kind == "Mapping":
        widths = dict(z_dim=m.z_dim, c_dim=m.c_dim, num_ws=m.num_ws, num_layers=m.num_layers)
        return "MappingNetwork", dict(w_avg_beta=m.w_avg_beta if m.num_ws else None, **widths)
    if kind == "FourierInput":
        rates = dict(sampling_rate=np.float64(m.rate), bandwidth=np.float64(m.cutoff))
        return "SynthesisInput", dict(channels=len(m.freqs), size=np.array([m.size] * 2), **rates)
    if isinstance(m, stylegan2.ToRGB):
        return "ToRGBLayer", dict(conv_clamp=m.clamp, weight_gain=np.float64(m.styles_gain))
    if isinstance(m, stylegan2.SynthesisLayer):
        sizes = dict(resolution=m.size[0], up=m.up, padding=1, act_gain=square)
        return kind, dict(use_noise=m.use_noise, activation="lrelu", conv_clamp=m.clamp, **sizes)
    if hasattr(m, "geometry"):
        return "SynthesisLayer", _of_layer(m)
    image = dict(img_resolution=c.resolution[0], img_channels=c.channels)
    if kind == "Synthesis" and c.model == "stylegan3":
        names = ("num_layers", "num_critical", "margin_size", "output_scale")
        image |= {name: getattr(c, OURS.get(name, name)) for name in names}
        image["num_fp16_res"] = c.low_precision_blocks
    if kind == "Synthesis":
        return "SynthesisNetwork", dict(w_dim=c.w_dim, num_ws=m.num_ws, **image)
    return kind, dict(c_dim=c.c_dim, **image)


def _of_layer(m):
    """Attributes of a layer of StyleGAN3."""
    g = m.geometry
    return dict(
        is_torgb=g.torgb,
        use_fp16=m.low_precision,
        in_size=np.array([g.before.size] * 2),
        out_size=np.array([g.after.size] * 2),
        in_cutoff=np.float64(g.before.cutoff),
        conv_kernel=g.kernel,
        conv_clamp=m.clamp,
        magnitude_ema_beta=0.999,
        up_factor=g.up,
        down_factor=g.down,
        down_radial=g.radial,
        padding=list(m.padding),
    )


def of_class(path, base=torch.nn.Module):
    """A class with this module path, which pickles name."""
    module, _, name = path.rpartition(".")
    return types.new_class(name, (base,), {}, lambda ns: ns.update(__module__=module))
