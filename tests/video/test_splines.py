# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from stylegan.video.splines import CubicSpline, frame_times


def points(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 2, 3))


@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 40])
def test_passes_through_its_points(count, loop):
    p = points(count)
    np.testing.assert_allclose(CubicSpline(p, loop)(np.arange(count)), p, atol=1e-12)


def derivatives(curve, t, side):
    """First and second derivative at t, from one side: exact for a cubic, up to rounding."""
    at = t + side * 0.1 * np.arange(4)
    y = curve(at).reshape(4, -1)
    c = np.linalg.solve(np.vander(side * 0.1 * np.arange(4), increasing=True), y)
    return c[1], 2 * c[2]


@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_is_smooth_up_to_the_second_derivative(count, loop):
    curve = CubicSpline(points(count), loop)
    for knot in range(0 if loop else 1, count if loop else count - 1):
        # Just beside the knot, so that all four samples are on one piece.
        left, right = (derivatives(curve, knot + side * 1e-9, side) for side in (-1, 1))
        np.testing.assert_allclose(left, right, atol=1e-5)


def test_period():
    curve, t = CubicSpline(points(5)), np.linspace(0, 5, 23)
    np.testing.assert_allclose(curve(t + 5), curve(t), atol=1e-12)
    np.testing.assert_allclose(curve(t - 10), curve(t), atol=1e-12)
    assert np.isfinite(curve([-1e-17])).all()


def test_ends_of_a_curve_that_does_not_loop():
    curve = CubicSpline(points(6), loop=False)
    assert (curve.second[0] == 0).all() and (curve.second[-1] == 0).all()
    assert (curve([-1, 9]) == points(6)[[0, 5]]).all()


def test_closed_forms():
    t = np.linspace(0, 3, 31)
    straight = np.stack([np.arange(4) * 2.0, 5 - np.arange(4)], 1)
    np.testing.assert_allclose(
        CubicSpline(straight, loop=False)(t), np.stack([2 * t, 5 - t], 1), atol=1e-12
    )
    np.testing.assert_allclose(CubicSpline(np.full((3, 1), 7.0))(t), 7, atol=1e-12)
    # Two points there and back: between them the cubic with no slope at either.
    there_and_back = CubicSpline(np.array([0.0, 1.0]))
    u = np.linspace(0, 1, 11)
    np.testing.assert_allclose(there_and_back(u), 3 * u**2 - 2 * u**3, atol=1e-12)
    # A turn of a circle through 16 points: the error of a cubic spline is 5/384 h^4 max|y''''|.
    circle = np.exp(2j * np.pi * np.arange(16) / 16)
    curve = CubicSpline(np.stack([circle.real, circle.imag], 1))
    t = np.linspace(0, 16, 200)
    exact = np.exp(2j * np.pi * t / 16)
    bound = 5 / 384 * (2 * np.pi / 16) ** 4
    assert np.abs(curve(t) - np.stack([exact.real, exact.imag], 1)).max() < 1.1 * bound


def test_frame_times():
    assert frame_times(6, 3).tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    assert frame_times(5, 3, loop=False).tolist() == [0, 0.5, 1, 1.5, 2]
    assert frame_times(1, 3, loop=False).tolist() == [0]
