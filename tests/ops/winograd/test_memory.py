# SPDX-License-Identifier: Apache-2.0
"""Winograd convolutions: what they touch, what they leave behind, which instructions they take."""

import os

import pytest
from ops.winograd.cases import convolve, images, threads
from support.cases import mostly_thorough
from support.checks import rand
from support.native import ROOT, needs_native, run_in_new_process
from support.sanitized import check_under_the_sanitizer

PATH = (ROOT, ROOT / "tests", ROOT / "tests" / "ops")


@pytest.mark.thorough
def test_under_the_sanitizer():
    """All forms, instruction sets and orders of tasks, on memory of exactly their sizes."""
    check_under_the_sanitizer("winograd")


@needs_native
def test_beside_no_memory():
    """Inputs that begin or end where nothing may be read; in a process that may fall."""
    run_in_new_process(
        """
        import torch
        import stylegan_ops
        from cuda_on_host.buffers import fenced_pages
        from ops.winograd.cases import FORMS, LAST, convolve, has_isa, images, plain, rand
        from stylegan_ops.layer.records import Epilogue
        from stylegan_ops.layer.winograd import weight_grad

        assert stylegan_ops.load("cpu") is None

        def fenced(side, *tensors):
            for t in tensors:
                size = t.numel() * 4
                memory = fenced_pages((size + 4095) // 4096 * 4096, side)
                memory = memory[-size:] if side == "after" else memory[:size]
                yield memory.view(torch.float32).as_strided(t.shape, t.stride()).copy_(t)

        def run(x, w, styles, scale, noise, b, *args):
            end = Epilogue(b, "lrelu", clamp=1)
            return convolve(x, w, *args, styles=styles, scale=scale, noise=noise, end=end)

        for isa in filter(has_isa, (0, 1, 2)):
            for form in FORMS:
                for i, size in enumerate([(1, 1), (5, 6), (17, 9)]):
                    flip = (i + isa) % 2 == 1
                    x, w = images(2, 32, *size), rand(48, 32, 3, 3).float()
                    w = w.contiguous(memory_format=LAST) if flip else w
                    args = form, (0, 0) if form == "up" else (1, 1), flip, isa
                    dy = images(*plain(x, w, *args[:2]).shape)
                    noise = torch.randn(2, 1, *dy.shape[2:])
                    given = x, w, torch.randn(2, 32), torch.randn(2, 48), noise, torch.randn(48)
                    for side in ("before", "after"):
                        y = run(*fenced(side, *given), *args)
                        assert torch.equal(y, run(*given, *args)), (args, size)
                        if form != "up":
                            weight_grad(*fenced(side, x, dy), form, (1, 1), isa)
        """,
        path=PATH,
    )


@needs_native
@mostly_thorough("capability, isa", [("avx2", 1), ("default", 0)], [("default", 0)])
def test_instructions_are_those_that_pytorch_takes(capability, isa):
    run_in_new_process(
        f"""
        import torch
        import stylegan_ops
        from ops.winograd.cases import FORMS, check, convolve, images, plain, rand
        from stylegan_ops.layer import winograd

        assert stylegan_ops.load("cpu") is None
        assert winograd.ISA == {isa}
        x, w = images(2, 48, 9, 10), rand(32, 48, 3, 3).float()
        for form in FORMS:
            check(convolve(x, w, form), plain(x.double(), w, form))
        """,
        env={**os.environ, "ATEN_CPU_CAPABILITY": capability},
        path=PATH,
    )


def resident():
    """Bytes of memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@needs_native
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc")
@pytest.mark.parametrize("channels, size", [(16, 128), (512, 24)])  # tiles of a task, shared ones
def test_nothing_is_left_behind(channels, size):
    """Each call makes 1 MiB and more."""
    x, w = images(1, channels, size, size), rand(16, channels, 3, 3).float()
    with threads(1):
        for call in range(220):
            if call == 20:
                before = resident()
            convolve(x, w, "tile4", (1, 1))
    assert resident() - before < 40 << 20
