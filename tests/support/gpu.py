# SPDX-License-Identifier: Apache-2.0
"""For tests that need a GPU. `from support.gpu import pytestmark` marks a file, and skips it where
there is none."""

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU"),
]


def check_two_streams(run, given):
    """Results of `run` on two streams at once are those of one after the other.

    Args:
        run: function of tensors that returns tensors.
        given: two lists of its arguments, on the GPU.
    """
    expected = [run(*g) for g in given]
    streams = [torch.cuda.Stream() for _ in given]
    torch.cuda.synchronize()
    results = []
    for _ in range(20):
        for stream, g in zip(streams, given):
            with torch.cuda.stream(stream):
                results.append(run(*g))
    torch.cuda.synchronize()
    for i, result in enumerate(results):
        assert all(torch.equal(a, b) for a, b in zip(result, expected[i % 2]))


def check_graph(run, given):
    """A captured graph of `run`, replayed after its arguments have changed, sees the new values."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run(*given)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run(*given)
    with torch.no_grad():
        for t in given:
            t.normal_()
    graph.replay()
    assert all(torch.equal(a, b) for a, b in zip(captured, run(*given)))
