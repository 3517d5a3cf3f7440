# SPDX-License-Identifier: Apache-2.0
"""Importing stylegan_ops builds nothing, and calls stay cheap."""

import time

import pytest
import torch
from support.native import needs_native, run_in_new_process

import stylegan_ops


def test_import_runs_no_compiler_and_is_quick():
    out, _ = run_in_new_process("""
        import sys, time, torch
        started = []
        sys.addaudithook(lambda name, _: started.append(1) if name == "subprocess.Popen" else 0)
        start = time.process_time()
        import stylegan_ops
        print(time.process_time() - start, len(started), "torch._dynamo" in sys.modules)
    """)
    seconds, started, compiler = out.split()
    assert float(seconds) < 0.1 and started == "0" and compiler == "False"


@pytest.mark.serial
@needs_native
def test_overhead_of_a_call():
    x, b = torch.randn(1, 4, 2, 2, requires_grad=True), torch.zeros(4, requires_grad=True)

    def microseconds():
        start = time.perf_counter()
        for _ in range(1000):
            stylegan_ops.bias_act(x, b, act="lrelu", clamp=256)
        return (time.perf_counter() - start) * 1e3

    assert min(microseconds() for _ in range(20)) < 30
