# SPDX-License-Identifier: Apache-2.0
"""How pickles begin."""

from __future__ import annotations

import re

# How such pickles begin: they have no opcode that tells so. A global is two lines of names.
GLOBAL = rb"[ci][A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n"
START = re.compile(
    rb"\(+(?:[dlt][pq(.VSUTIcNXFGLgP}\])\x82-\x8b]|I-?\d+\n|V[^\n]{0,250}\n|S'[^\n]{0,250}'\n"
    rb"|[}\])]|X..\0\0|" + GLOBAL + rb"[pq()N\]}.SVIXU])"
    rb"|[}\]][q(.]|" + GLOBAL + rb"(?:p\d|q|[()N\]}.])"
    rb"|L119547037146038801333356L\n",  # a file of torch.save
    re.DOTALL,
)
# Keys of a batch of CIFAR.
CIFAR = re.compile(rb"batch_label|fine_labels|num_cases_per_batch|U\tfilenames")
NVIDIA = re.compile(rb"torch_utils\.persistence|dnnlib")
TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before PyTorch 1.6


def begins_old(start: bytes) -> bool:
    """Whether these bytes begin a pickle of protocol 0 or 1."""
    return START.match(start) is not None


def identify_pickle(head: bytes) -> str | None:
    """The kind of a pickle, from the first bytes of a file; None if it is none."""
    if head[:1] != b"\x80" and not begins_old(head):
        return None
    if CIFAR.search(head[:4096]):
        return "cifar"
    if NVIDIA.search(head):
        return "nvidia"
    return "torch" if head.startswith(TORCH) else "pickle"
