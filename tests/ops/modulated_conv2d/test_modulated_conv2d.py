# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from support.cases import by_pairs, on
from support.checks import DTYPES, LAYOUTS, check_dtype, check_fixture, fixture_cases, rand

from stylegan_ops import fold_weight, modulated_conv2d, setup_filter
from stylegan_ops.layer.choose import candidates
from stylegan_ops.layer.records import Epilogue
from stylegan_ops.ops.modulated_conv2d import modulated_conv2d_ref
from stylegan_ops.runtime import plan

F = setup_filter([1, 3, 3, 1])
CASES = {
    "3x3": dict(k=3, padding=1),
    "up": dict(k=3, up=2, padding=1, resample_filter=F, flip_weight=False),
    "down": dict(k=3, down=2, padding=1, resample_filter=F),
    "torgb": dict(k=1, demodulate=False, clamp=1.5),
}
LAYER = dict(act="lrelu", gain=1.1, clamp=1.2)
# Without kinks: beside one, a rounding error in y decides whether dx is there at all.
SMOOTH = dict(act="swish", gain=1.1, clamp=None)


@pytest.fixture(params=["weights", "sandwich"])
def strategy(request):
    """The ways that have gradients, whatever the plan says."""
    with plan.forced(request.param):
        yield request.param


def layer_inputs(case, n=3):
    case = dict(CASES[case])
    k, up, down = case.pop("k"), case.get("up", 1), case.get("down", 1)
    size = (8 * up // down, 6 * up // down)
    inputs = {
        "x": rand(n, 4, 8, 6),
        "weight": rand(5, 4, k, k),
        "styles": rand(n, 4, seed=1),
        "noise": rand(n, 1, *size) * 0.3,
        "bias": rand(5),
    }
    return inputs, {**LAYER, **case}


@pytest.mark.parametrize("number", fixture_cases("modulated_conv2d"))
def test_known_good(number, strategy):
    check_fixture(modulated_conv2d, number)


@by_pairs(case=CASES, dtype=DTYPES, n=[1, 3], layout=LAYOUTS)
def test_dtypes_and_layouts(n, case, dtype, layout, device):
    """As the plan chooses: batch 1 and more."""
    inputs, kwargs = layer_inputs(case, n)
    kwargs |= SMOOTH
    names = list(inputs)
    inputs["resample_filter"] = kwargs.pop("resample_filter", None)

    def ours(**tensors):
        return modulated_conv2d(**tensors, **kwargs)

    def plain(**tensors):
        return modulated_conv2d_ref(**tensors, **kwargs)

    check_dtype(on(device, ours), on(device, plain), inputs, names, dtype, layout)


@by_pairs(case=CASES, n=[1, 3], dtype=[torch.bfloat16, torch.float16])
def test_float32_parameters_with_half_precision_images(n, case, dtype):
    """As the networks call it. The gradient of a float32 parameter is float32."""
    inputs, kwargs = layer_inputs(case, n)
    kwargs |= SMOOTH
    x = inputs.pop("x").to(dtype)
    parameters = {k: v.float().requires_grad_() for k, v in inputs.items()}
    y = modulated_conv2d(x, **parameters, **kwargs)
    exact = modulated_conv2d_ref(
        x.double(), **{k: v.double() for k, v in parameters.items()}, **kwargs
    )
    own = modulated_conv2d_ref(x, **parameters, **kwargs)
    allowed = 2 * (own.double() - exact).square().mean().sqrt()
    allowed += torch.finfo(dtype).eps * exact.square().mean().sqrt()
    assert y.dtype == dtype and (y.double() - exact).square().mean().sqrt() <= allowed
    for grad in torch.autograd.grad(y.float().square().sum(), list(parameters.values())):
        assert grad.dtype == torch.float32 and grad.isfinite().all()


@pytest.mark.parametrize("case", CASES)
def test_gradgradcheck(case, strategy):
    inputs, kwargs = layer_inputs(case, n=2)
    up, down = kwargs.get("up", 1), kwargs.get("down", 1)
    inputs["x"] = inputs["x"][:, :2, :3, :2] if down == 1 else inputs["x"][:, :2, :4, :2]
    height, width = (size * up // down for size in inputs["x"].shape[2:])
    inputs["noise"] = inputs["noise"][:1, :, :height, :width]
    inputs["weight"], inputs["styles"] = inputs["weight"][:2, :2], inputs["styles"][:, :2]
    inputs["bias"] = inputs["bias"][:2]
    names = list(inputs)

    def op(*tensors):
        return modulated_conv2d(**dict(zip(names, tensors)), **kwargs)

    leaves = tuple(v.detach().clone().requires_grad_() for v in inputs.values())
    assert torch.autograd.gradcheck(op, leaves)
    assert torch.autograd.gradgradcheck(op, leaves, fast_mode=True)


@by_pairs(("strategy",), strategy=["weights", "sandwich"], case=["3x3", "up"], scale=[1e3, 1e-3])
def test_float16_does_not_overflow(case, scale, strategy):
    """Styles and weights far from 1: demodulation takes their size out of the result again."""
    inputs, kwargs = layer_inputs(case)
    kwargs["clamp"] = None
    exact = modulated_conv2d(**inputs, **kwargs)
    inputs["styles"] = inputs["styles"] * scale
    inputs["x"] = inputs["x"].half()
    inputs["noise"] = inputs["noise"].half()
    y = modulated_conv2d(**inputs, **kwargs)
    assert y.dtype == torch.float16
    torch.testing.assert_close(y.double(), exact, atol=2e-2, rtol=1e-2)


def test_samples_of_very_different_styles(strategy):
    """Each has a range of its own in float16."""
    inputs, kwargs = layer_inputs("3x3")
    inputs["styles"] = inputs["styles"] * torch.tensor([[1e-3], [1.0], [1e3]], dtype=torch.float64)
    exact = modulated_conv2d_ref(**inputs, **kwargs)
    torch.testing.assert_close(modulated_conv2d(**inputs, **kwargs), exact)
    inputs |= {name: inputs[name].half() for name in ("x", "noise")}
    y = modulated_conv2d(**inputs, **kwargs)
    torch.testing.assert_close(y.double(), exact, atol=1e-2, rtol=1e-2)


def test_rules():
    """By size: the weights of one sample, or the image; and nothing is planned for gradients."""
    weight = torch.zeros(8, 8, 3, 3, dtype=torch.float64)  # which Winograd does not take

    def names(n, size, **kwargs):
        x = torch.empty(n, 8, size, size, dtype=torch.float64)
        found = candidates(x, weight, **kwargs)
        assert found.others == ("weights", "sandwich")  # those that work, whatever the size
        return found.names

    assert names(1, 4) == ("sandwich", "weights")
    assert names(1, 256) == ("weights", "sandwich")
    assert names(8, 4) == ("sandwich", "samples")
    assert names(8, 256) == ("samples", "sandwich")
    assert names(8, 256, differentiable=True) == ("sandwich",)
    assert names(8, 256, epilogue=Epilogue(act="swish")) == ("sandwich",)


@by_pairs(case=CASES, noise=["none", "shared", "own", "number"], layout=LAYOUTS)
def test_without_gradient(case, layout, noise):
    """Every strategy, and what overwrites the convolution's result."""
    inputs, kwargs = layer_inputs(case)
    inputs = {k: v.float() for k, v in inputs.items()}
    shared = {"none": None, "shared": inputs["noise"][:1], "own": inputs["noise"]}
    inputs["noise"] = shared.get(noise, torch.tensor([[[[0.3]]]]))
    inputs["x"] = inputs["x"].contiguous(memory_format=layout)
    expected = modulated_conv2d_ref(**inputs, **kwargs)
    before = {k: v.clone() for k, v in inputs.items() if v is not None}
    for name in ("weights", "sandwich", "samples"):
        for weight in (inputs["weight"], fold_weight(inputs["weight"], up=kwargs.get("up", 1))):
            with torch.no_grad(), plan.forced(name):
                y = modulated_conv2d(**{**inputs, "weight": weight}, **kwargs)
            torch.testing.assert_close(y, expected, atol=2e-5, rtol=1e-4)
            assert y.is_contiguous(memory_format=layout)
    assert all(torch.equal(inputs[k], v) for k, v in before.items())  # inputs are not written to


@pytest.mark.parametrize("demodulate", [True, False])
def test_empty_batch(demodulate):
    inputs, kwargs = layer_inputs("up", n=0)
    y = modulated_conv2d(**inputs, **{**kwargs, "demodulate": demodulate})
    assert y.shape == (0, 5, 16, 12)


def test_noise_of_other_samples_is_rejected():
    inputs, kwargs = layer_inputs("3x3")
    inputs["noise"] = torch.zeros(5, 1, 8, 6)
    for name in ("sandwich", "samples"):
        with plan.forced(name), pytest.raises(RuntimeError):
            modulated_conv2d(**inputs, **kwargs)


@pytest.mark.parametrize("case", ["3x3", "up"])
def test_vmap(case):
    inputs, kwargs = layer_inputs(case)
    inputs = {k: v.float() for k, v in inputs.items()}
    styles = torch.stack([inputs.pop("styles"), torch.rand(3, 4)])
    op = lambda s: modulated_conv2d(**inputs, styles=s, **kwargs)
    torch.testing.assert_close(torch.func.vmap(op)(styles), torch.stack([op(s) for s in styles]))


@pytest.mark.parametrize("name", ["weights", "sandwich", "samples"])
def test_float16_without_demodulation_does_not_overflow(name):
    inputs, kwargs = layer_inputs("torgb")
    scaled = {"weight": inputs["weight"] * 300, "styles": inputs["styles"] * 300}
    x = (inputs.pop("x") * 1e-4).half()
    inputs |= scaled | {"noise": None}
    exact = modulated_conv2d(x.double(), **inputs, **kwargs)
    with plan.forced(name), torch.no_grad():
        y = modulated_conv2d(x, **inputs, **kwargs)
    torch.testing.assert_close(y.double(), exact, atol=4e-2, rtol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_folded_weight_in_half_precision(dtype):
    """Stored in the dtype of x, its size beside it."""
    inputs, kwargs = layer_inputs("3x3")
    inputs["weight"] = inputs["weight"] * 1e4
    x = inputs.pop("x")
    exact = modulated_conv2d(x, **inputs, **kwargs)
    inputs["weight"] = fold_weight(inputs["weight"], dtype)
    assert inputs["weight"].stored.dtype == dtype
    with torch.no_grad(), plan.forced("sandwich"):
        y = modulated_conv2d(x.to(dtype), **inputs, **kwargs)
    torch.testing.assert_close(y.double(), exact, atol=8e-2, rtol=3e-2)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"weight": torch.zeros(5, 3, 3, 3)}, r"weight must be \[O, I, kh, kw\]"),
        ({"styles": torch.zeros(1, 4)}, r"styles must be \[3, 4\], got \[1, 4\]"),
        ({"act": "gelu"}, "act must be one of"),
        ({"bias": torch.zeros(4)}, "bias must be"),
    ],
)
def test_rejects(change, message):
    inputs, kwargs = layer_inputs("3x3")
    with pytest.raises(ValueError, match=message):
        modulated_conv2d(**{**inputs, **kwargs, **change})
