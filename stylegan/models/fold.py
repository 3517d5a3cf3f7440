# SPDX-License-Identifier: Apache-2.0
"""What a generator computes from its weights alone, computed once."""

import torch

from stylegan.models.precision import block_format
from stylegan_ops import fold_weight


class Constant:
    """What follows from parameters alone. It holds without gradients, and until the parameters are
    replaced, moved or changed in place; compiled code and CUDA graphs keep what they met. Copies
    begin without it.

    Args:
        value: anything but None.
        sources: the parameters.
    """

    def __init__(self, value, *sources):
        self.value, self.sources, self.state = value, sources, _state(sources)

    def get(self, *sources):
        """The value for the parameters as they are now, or None where it does not hold."""
        if torch.is_grad_enabled():
            return None
        if not torch.compiler.is_compiling():
            if any(now is not then for now, then in zip(sources, self.sources)):
                return None
            if self.state is None or self.state != _state(sources):
                return None
        return self.value

    def __deepcopy__(self, memo):
        return None

    def __reduce__(self):
        return type(None), ()


def _state(tensors):
    """Changes with every change that can be seen: not one through `.data`."""
    if any(t.is_inference() for t in tensors):
        return None  # these do not count their changes
    return [(t._version, t.data_ptr(), t.device, t.dtype) for t in tensors]


def fold_constants(G):
    """Compute once what depends on the weights of a generator alone, which do not change any more:
    scaled and squared weights, weights in the order and dtype that convolutions ask for, constant
    noise. Used without gradients only; the results are those of before, but for rounding. Weights
    keep their values; their order in memory changes, so that they are not contiguous any more.

    Args: G: a generator.
    """
    with torch.inference_mode(False), torch.no_grad():
        for layer in G.mapping.modules():
            if hasattr(layer, "fold"):
                layer.fold(torch.float32)
        for block in G.synthesis.children():
            dtype = block.dtype_on(next(block.parameters()).device)
            for layer in block.modules():
                if hasattr(layer, "fold"):
                    layer.fold(dtype)


def fold_modulated(layer, dtype, weight_of=None, **shape):
    """`layer.folded`: what `modulated_conv2d` takes for layer.weight, see `fold_constants`.

    Args:
        layer: module with a weight and a place `folded`.
        dtype: of its images.
        weight_of: function that gives the weight in use; None: layer.weight itself, which is then
            stored in the order of the folded one.
        shape: up, size, flip_weight and padding of `fold_weight`.
    """
    held = layer.folded and layer.folded.get(layer.weight)
    if (held and held.stored.dtype == dtype) or layer.weight.is_inference():
        return
    layout = block_format(layer.weight.device, dtype)
    weight = layer.weight if weight_of is None else weight_of()
    folded = fold_weight(weight, dtype, memory_format=layout, **shape)
    if weight_of is None and folded.weight.dtype == layer.weight.dtype:
        layer.weight.data = folded.weight  # not a second copy
    layer.folded = Constant(folded, layer.weight)
