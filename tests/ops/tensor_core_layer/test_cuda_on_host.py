# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of modconv, compiled for the host, on raw memory."""

import itertools

import pytest
import torch
from cuda_on_host.build import missing
from ops.tensor_core_layer.cuda_on_host import (
    DTYPES,
    NOTHING,
    TF32_EPS,
    Case,
    check,
    choice,
    fits,
    images,
    kernels,
    launch,
    tiles,
    weights,
)
from ops.tensor_core_layer.cuda_on_host_cases import CASES, EPILOGUES, LAYERS, MEMORY, NONE, SUMS
from ops.upfirdn2d.cuda_on_host import (
    ACT_GAIN,
    CLAMP,
    Epilogue,
    Memory,
    check_values,
    epilogue_ref,
    rand,
)
from support.cases import by_pairs, mostly_thorough
from support.pairs import pairs

from stylegan_ops import backend, setup_filter
from stylegan_ops.layer import tensor_core_layer
from stylegan_ops.ops.conv2d_resample import conv2d_resample

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

VARIANTS = {torch.float16: 4, torch.bfloat16: 4, torch.float32: 3}
TILES = [(d, v) for d, count in VARIANTS.items() for v in range(count)]


def by_pairs_of_tiles(**values):
    """A decorator: by pairs of values, dtypes and variants. float32 has one variant less."""
    cases = pairs({**values, "variant": list(range(4)), "dtype": list(DTYPES)})
    cases = [{**case, "variant": case["variant"] % VARIANTS[case["dtype"]]} for case in cases]
    return pytest.mark.parametrize(",".join(cases[0]), [tuple(case.values()) for case in cases])


each_tile = mostly_thorough(
    "dtype, variant", TILES, [TILES[0], TILES[5], TILES[10], TILES[3]], ids=str
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """References so small that threads cost three times what they save."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def test_tiles():
    assert {d: len(tiles(d)) for d in DTYPES} == VARIANTS
    assert kernels().variants(3) == 0
    assert {t.m for t in tiles(torch.float16)} == {64, 128, 256}


def epilogue(case, turn):
    """Some of them, with a mask if the case supports one."""
    e = EPILOGUES[turn * 5 % len(EPILOGUES)]
    return e._replace(mask=case.channels[1] % 8 == 0 and turn % 3 != 1)


@by_pairs_of_tiles(case=CASES)
def test_every_tile(case, dtype, variant):
    """With some of the epilogues, memory, styles and parts of the sum in turn."""
    turn = CASES.index(case) * 3 + TILES.index((dtype, variant)) * 7
    _, split = choice(case, dtype, variant, 1 + turn // 2 % 3)
    case = case._replace(styles=turn % 4 != 3)
    check(case, dtype, epilogue(case, turn), variant, split, MEMORY[turn % 8])


@by_pairs(
    act=["lrelu", "relu", "linear"],
    noise=["each", None, "shared"],
    scale=[True, False],
    b=[True, False],
    clamp=[CLAMP, torch.inf],
)
def test_every_epilogue(scale, noise, b, act, clamp):
    e = Epilogue(scale, noise, b, act, clamp)
    cases = [Case(3, (8, 16), (4, 5)), Case(2, (40, 13), (5, 4), 1, NONE)]
    cases.append(Case(2, (40, 16), (3, 5), up=True))
    for i, case in enumerate(cases):
        for split in (1, 2):
            given = e._replace(mask=case.channels[1] % 8 == 0)
            check(case, DTYPES[(i + split) % 3], given, 0, split, MEMORY[2 * i + split])


@by_pairs_of_tiles(case=SUMS)
def test_parts_of_a_sum(case, dtype, variant):
    """Any number of parts, also more than chunks."""
    e = EPILOGUES[0]._replace(mask=case.channels[1] % 8 == 0)
    for split in (2, 4, 7, 40):
        _, own = choice(case, dtype, variant, split)
        assert own <= split
        check(case, dtype, e, variant, own, MEMORY[split % 8])
    check(case, dtype, e, variant, 20)


@each_tile
def test_the_same_bits_in_any_order(dtype, variant):
    case, e = Case(2, (72, 40), (9, 7)), EPILOGUES[0]._replace(mask=True)
    for split in (1, 3):
        first, *others = (
            launch(case, dtype, e, variant, split, Memory(order=order)) for order in (0, 1, 7, 8)
        )
        for y, planes in others:
            assert torch.equal(y, first[0])
            assert all(torch.equal(a, b) for a, b in zip(planes, first[1]))


@by_pairs_of_tiles(up=[False, True])
def test_values_that_are_not_finite_stay_where_they_belong(up, dtype, variant):
    """To the pixels that a NaN of x reaches, to the channel that a NaN of the weight makes."""
    case = Case(6, (40, 24), (5, 4), up=up)
    expected, _ = launch(case, dtype, variant=variant)
    x, w = images(case, dtype), weights(case, dtype)
    x[2, 7, 1, 3] = torch.nan
    x[4, 39, 4, 0] = torch.inf
    w[-1, 11, 1, 1, 0] = torch.nan
    y, _ = launch(case, dtype, variant=variant, x=x, w=w)
    reached = torch.zeros_like(y, dtype=torch.bool)
    scale = 1 + up
    reached[2, :, : 3 * scale, 2 * scale :] = True
    reached[4, :, 3 * scale :, : 2 * scale] = True
    reached[:, 11, up::scale, up::scale] = True
    assert torch.equal(~y.isfinite(), reached)
    assert torch.equal(y[~reached], expected[~reached])


SPECIAL = [torch.nan, torch.inf, -torch.inf, 0, -0.0, 1, -1, 300, -300]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("act", ["linear", "relu", "lrelu"])
def test_what_follows_a_sum_that_is_not_finite(act, dtype):
    """With a mask and without, of one part and of two: of the first channel, times 1."""
    case = Case(1, (40, 8), (3, 3), 1, NONE, styles=False)
    x, w = torch.zeros_like(images(case, dtype)), torch.zeros_like(weights(case, dtype))
    x[0, 0], w[..., 0] = torch.tensor(SPECIAL).view(3, 3), 1
    for clamp, mask, split in itertools.product((torch.inf, CLAMP), (False, True), (1, 2)):
        e = Epilogue(False, None, False, act, clamp, mask)
        y, planes = launch(case, dtype, e, 0, split, x=x, w=w)
        u, v = epilogue_ref(x[:, :1].double().expand(1, 8, 3, 3), e, (None,) * 3)
        expected, rtol = v.clamp(-clamp, clamp).to(dtype), 4 * torch.finfo(dtype).eps
        torch.testing.assert_close(y, expected, rtol=rtol, atol=0, equal_nan=True)
        for plane, bits in zip(planes, (u > 0, v.abs() <= clamp)):
            assert torch.equal(plane, bits)


def check_layer(case, dtype, w, own, weight):
    """A launch with w against own(x, weight), by the 2x rule, or as TF32 rounds."""
    x = images(case, dtype)
    y, _ = launch(case, dtype, w=w.to(dtype), variant=case.size[1] % 3)
    exact = ACT_GAIN * own(x.double(), weight)
    if dtype != torch.float32:
        return check_values(y, ACT_GAIN * own(x, weight.to(dtype)), exact, 1, f"{case} {dtype}")
    assert (y - exact).square().mean() <= TF32_EPS**2 * exact.square().mean()


@by_pairs(layer=LAYERS, dtype=DTYPES, flip=[False, True])
def test_an_up_sampling_convolution_with_its_filter(layer, flip, dtype):
    """Of stylegan_ops, as four phases."""
    taps, padding = layer
    f = None if taps is None else setup_filter(taps) + torch.arange(len(taps)) / 100
    size, channels = (7, 6), (24, 16)
    i, o = channels
    x, weight = rand((2, i, *size), torch.float64), rand((o, i, 3, 3), torch.float64, 10) / 15
    w = tensor_core_layer.arranged(tensor_core_layer.composite(weight, f, padding, flip), up=2)
    geometry = tensor_core_layer._geometry(x, 3, 2, padding, f)
    case = Case(2, channels, size, 3, geometry.origin, True, styles=False)
    case = case._replace(more=tuple(n - m for n, m in zip(geometry.size, case.out)))

    def own(x, weight):
        with backend("reference"):
            return conv2d_resample(x, weight, f, 2, 1, padding, flip_weight=flip)

    check_layer(case, dtype, w.view(4, o, 3, 3, i), own, weight)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kernel, padding", [(3, 1), (3, 0), (3, 2), (1, 0)])
def test_the_gradient_by_x_is_the_same_op(kernel, padding, dtype):
    (i, o), size = (24, 16), (7, 6)
    weight = rand((o, i, kernel, kernel), torch.float64, 10) / 15
    outer = [n + 2 * padding - kernel + 1 for n in size]
    case = Case(2, (o, i), tuple(outer), kernel, (kernel - 1 - padding,) * 2, styles=False)

    def own(dy, weight):
        return torch.nn.grad.conv2d_input((2, i, *size), weight, dy, padding=padding)

    check_layer(case, dtype, tensor_core_layer.adjoint(weight)[None], own, weight)


@by_pairs_of_tiles(kernel=[1, 3])
def test_no_product_too_many(kernel, dtype, variant):
    """An image and channels that are whole tiles, and two chunks and a bit in two parts."""
    tile = tiles(dtype)[variant]
    case = Case(1, (2 * tile.k + 8, 128), (16, 16), kernel, (kernel // 2,) * 2)
    depth = 8 if dtype == torch.float32 else 16  # of an mma, of 16 x 8
    number = 16 * 16 * 128 * 3 * tile.k * kernel**2 // (16 * 8 * depth)
    for split in (1, 2):
        launch(case, dtype, variant=variant, split=split, products=number)


def test_choices():
    """Of one that is given, and none that leaves a part of the sum empty."""
    for dtype, case in itertools.product(DTYPES, CASES + SUMS):
        chunks = -(-case.channels[0] // tiles(dtype)[0].k)
        for variant, split in itertools.product([-1, 0, 2], range(12)):
            made = choice(case, dtype, variant, split)
            assert made[0] == variant or (variant == -1 and 0 <= made[0] < VARIANTS[dtype])
            assert 1 <= made[1] <= (min(split, chunks) if split else chunks)
            assert (made[1] - 1) * -(-chunks // made[1]) < chunks
            workspace = kernels().workspace(case.numbers, *made)
            assert workspace == (made[1] * case.y_size if made[1] > 1 else 0)
    small = Case(1, (512, 512), (4, 4))
    assert choice(small, torch.float16)[1] > 1  # too few tiles for a GPU
    assert choice(Case(8, (64, 64), (256, 256)), torch.float16)[1] == 1


def test_what_fits():
    for dtype, case in itertools.product(range(3), CASES + SUMS):
        assert fits(case, dtype)
        assert not fits(case, 3)
        assert not fits(case._replace(kernel=5, padding=(4, 4)), dtype)
    assert fits(Case(1, (4, 8)), 2)
    assert not fits(Case(1, (4, 8)), 0)
    assert not fits(Case(1, (6, 8)), 2)
    assert not fits(Case(1, (8, 12), up=True), 0)
    assert not fits(Case(0, (8, 8)), 0)
    assert fits(Case(64, (64, 64), (1024, 1024)), 0)  # 2^32 elements
    assert fits(Case(1, (32, 8), (16, 1 << 22)), 0)
    assert not fits(Case(1, (64, 8), (16, 1 << 22)), 0)  # 18 lines are 2^29 times 16 bytes


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_four_channels_at_a_time(dtype):
    """As few as a float32 kernel can have."""
    for i, case in enumerate([Case(2, (4, 8)), Case(2, (20, 5), (5, 4), 1, NONE)]):
        if dtype == torch.float32:
            check(case, dtype, EPILOGUES[i], i, 1 + i, MEMORY[i])
        else:
            assert not fits(case, DTYPES.index(dtype))


def test_rejects():
    """What does not fit, addresses that are not aligned, tiles that do not exist."""
    case, y = Case(1, (8, 8), (4, 4)), torch.zeros(2048, dtype=torch.float16)
    at, nothing = y.data_ptr(), NOTHING
    end = None, None, None, 0, *nothing.slopes, nothing.clamp, None, 0

    def call(case=case, dtype=0, variant=0, split=1, x=at, w=at, styles=at):
        tensors = x, w, styles, at, at
        message = kernels().tensor_core_layer(dtype, case.numbers, variant, split, *end, *tensors)
        return message and message.decode()

    assert call() is None
    refused = "these shapes or addresses are not for this kernel"
    assert refused in call(x=at + 8)
    assert refused in call(w=at + 8)
    assert refused in call(styles=at + 8)
    assert refused in call(Case(1, (4, 8), (4, 4)))
    assert refused in call(dtype=3)
    assert "no such variant" in call(variant=4)
    assert "no such variant" in call(dtype=2, variant=3)
    assert "no such variant" in call(variant=-1)
    assert "no such variant" in call(split=0)
