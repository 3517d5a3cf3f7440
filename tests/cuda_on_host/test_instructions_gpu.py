# SPDX-License-Identifier: Apache-2.0
"""What a GPU leaves open of the tensor-core instructions, and the pipeline for the sanitizer."""

import pytest
import torch
from cuda_on_host.instructions import fault_of, rand
from support.gpu import pytestmark  # noqa: F401

STEPS = 5


def test_rounding_to_tf32(run_on_gpu):
    """Of what is finite; a GPU may leave anything in the last 13 bits."""
    x = torch.randint(-(1 << 31), 1 << 31, (1000,), generator=torch.Generator().manual_seed(0))
    x = x.int()[x.int().view(torch.float32).abs() < 1e38][:900]
    x[:2] = torch.tensor([0x3F801000, 0x3F803000])  # ties
    y = torch.zeros_like(x)
    assert run_on_gpu("rounded", len(x), x, y) is None
    magnitude = (x & 0x7FFFFFFF) + 0x1000
    assert torch.equal(y & ~0x1FFF, (magnitude & ~0x1FFF) | (x & -(1 << 31)))


@pytest.mark.sanitizer
def test_the_pipeline(run_on_gpu):
    x = rand(32, 16 * STEPS, dtype=torch.float16)
    w, y = rand(16 * STEPS, 8, dtype=torch.float16), torch.zeros(32, 8)
    assert run_on_gpu("pipeline", fault_of("none"), 48, 0, STEPS, x, w, y) is None
    torch.testing.assert_close(y.double(), x.double() @ w.double(), rtol=1e-5, atol=1e-4)
