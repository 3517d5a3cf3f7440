# SPDX-License-Identifier: Apache-2.0
"""Registers ops with torch.library and gives them derivatives, quickly in eager mode.

The compiler and other transformations of PyTorch need `torch.library.register_autograd`. A call
through it costs 40 us and more, through a `torch.autograd.Function` around the same kernel 7 us. So
every op has two overloads with the same kernels: the public one has the registered derivative, and
a Function calls `raw` in eager mode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from stylegan_ops.runtime.autocast import exact_backward

NAMESPACE = "stylegan_ops"
_definitions = torch.library.Library(NAMESPACE, "DEF")


def wants_gradient(*tensors: torch.Tensor | None) -> bool:
    """Whether a derivative w.r.t. any of the tensors may be asked for."""
    if torch.is_grad_enabled():
        for t in tensors:
            if t is not None and t.requires_grad:
                return True
    return False


def define(name: str, schema: str, fake: Callable[..., Any]) -> Callable[..., Any]:
    """Define stylegan_ops::name, for kernels to be registered later.

    Args:
        schema: arguments and returns, "(Tensor x, ...) -> Tensor".
        fake: function of the op's arguments that returns empty tensors as the op would.
    Returns: the op's default overload.
    """
    _definitions.define(name + schema)
    torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=_definitions)
    return getattr(getattr(torch.ops, NAMESPACE), name).default


def differentiable(
    name: str,
    schema: str,
    fake: Callable[..., Any],
    setup_context: Callable[..., None],
    backward: Callable[..., Any],
) -> Callable[..., Any]:
    """Define an op with a derivative.

    Args:
        setup_context(ctx, inputs, output), backward(ctx, *grads): as for
            `torch.library.register_autograd`; gradients may be None. `backward` is differentiated
            in turn, so it calls functions made here.
    Returns: function of the op's arguments.
    """
    public = define(name, schema, fake)
    backward = exact_backward(backward)
    _definitions.define(f"{name}.raw{schema}")
    torch.library.register_fake(f"{NAMESPACE}::{name}.raw", fake, lib=_definitions)
    torch.library.register_autograd(
        f"{NAMESPACE}::{name}", backward, setup_context=setup_context, lib=_definitions
    )
    raw = getattr(getattr(torch.ops, NAMESPACE), name).raw

    def forward(ctx: Any, *args: Any) -> Any:
        ctx.set_materialize_grads(False)
        output = raw(*args)
        setup_context(ctx, args, output)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    function: Any = type(f"{name}_function", (torch.autograd.Function,), members)

    def call(*args: Any) -> Any:
        if torch.compiler.is_compiling():
            return public(*args)
        if torch.is_grad_enabled():
            for a in args:
                if isinstance(a, torch.Tensor) and a.requires_grad:
                    return function.apply(*args)
        return raw(*args)

    return call
