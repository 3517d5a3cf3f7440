# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

import stylegan_ops
from stylegan_ops import backend, bias_act
from stylegan_ops.runtime import dispatch

X = torch.ones(1, 2)


def test_native_raises_where_no_kernel_is_loaded(monkeypatch):
    monkeypatch.setattr(
        dispatch, "_extensions", {"cpu": dispatch.Extension(None, "the compiler is on holiday")}
    )
    with (
        backend("native"),
        pytest.raises(RuntimeError, match="bias_act: .*loaded for cpu: the compiler is on holiday"),
    ):
        bias_act(X)
    assert torch.equal(bias_act(X), X)  # and the setting ends with the block
    with backend("native"), pytest.raises(RuntimeError, match="no grid_sample kernel for cpu"):
        stylegan_ops.grid_sample(torch.ones(1, 1, 2, 2), torch.zeros(1, 2, 2, 2))


def test_a_registered_kernel_is_taken(monkeypatch, auto_backend):
    monkeypatch.setattr(dispatch, "_kernels", {})
    dispatch.register("bias_act", "cpu", lambda x, *rest: x + 41)
    assert torch.equal(bias_act(X), X + 41)
    assert stylegan_ops.info()["bias_act"]["cpu"]["backend"] == "native"
    with backend("reference"):
        assert torch.equal(bias_act(X), X)
        assert stylegan_ops.info()["bias_act"]["cpu"]["backend"] == "reference"
    with backend("native"):
        assert torch.equal(bias_act(X), X + 41)


def test_nothing_is_built_for_other_devices():
    assert "no kernels for mps" in stylegan_ops.load("mps")


def test_info_names_every_op_and_why():
    info = stylegan_ops.info()
    assert set(info) == {
        "bias_act",
        "filtered_lrelu",
        "fir_act",
        "scale_act",
        "upfirdn2d",
        "conv2d_resample",
        "weight_grad",
        "modulated_conv2d",
        "grid_sample",
        "winograd",
        "tensor_core_layer",
        "warp_affine",
    }
    assert all(status["reason"] for devices in info.values() for status in devices.values())


def test_rejects():
    with pytest.raises(
        ValueError, match="backend: expected one of auto, native, reference, got 'fast'"
    ):
        with backend("fast"):
            pass
    with pytest.raises(ValueError, match="no op is called 'conv3d'"):
        dispatch.register("conv3d", "cpu", None)


@pytest.mark.parametrize("value, expected", [("reference", "reference"), ("fast", "STYLEGAN_OPS")])
def test_environment_variable(value, expected, monkeypatch):
    monkeypatch.setenv("STYLEGAN_OPS", value)
    monkeypatch.setattr(dispatch, "_mode", None)  # as in a new process
    try:
        assert dispatch.mode() == expected
    except ValueError as e:
        assert value == "fast" and expected in str(e)
