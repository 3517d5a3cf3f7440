# SPDX-License-Identifier: Apache-2.0
"""Filters and arguments of upfirdn2d that several tests use."""

from support.checks import rand

from stylegan_ops import setup_filter

F2 = setup_filter([1, 3, 3, 1])
F1 = setup_filter([1, 2, 3, 4], separable=True)
F12 = setup_filter([1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1])
RANK2 = setup_filter([[1, -2, 3], [0.5, 4, 1], [2, 0, -1], [3, 1, 1], [1, 1, 2]])
LONG = rand(24, 17).abs().float() / 300
CASES = {
    "filter": dict(f=F2, padding=[2, 1, 2, 1]),
    "up": dict(f=F2, up=2, padding=[2, 1, 2, 1], gain=4.0),
    "down": dict(f=F2, down=2, padding=1),
    "separable up and down": dict(f=F1, up=[2, 3], down=[3, 2], padding=[3, 2, 4, 1]),
    "crop": dict(f=F2, up=2, padding=[-1, 3, 2, -2], flip_filter=True),
    "wide padding": dict(f=F1, up=2, padding=9),
    "no filter": dict(f=None, up=2, down=3),
    "12 taps": dict(f=F12, padding=[6, 5, 6, 5]),
    "12 taps up": dict(f=F12, up=2, padding=[6, 5, 6, 5], gain=4.0),
    "12 taps down": dict(f=F12, down=2, padding=5),
    "rank 2": dict(f=RANK2, padding=[2, 3, 1, 3], flip_filter=True, gain=0.7),
    "rank 2 up": dict(f=RANK2, up=[1, 2], padding=3),
}
LONG_CASES = {
    "long": dict(f=LONG, padding=12),
    "long up": dict(f=LONG, up=4, padding=[10, 9, 12, 13], flip_filter=True),
    "long down": dict(f=LONG, down=[4, 3], padding=12),
}


def without_filter(case):
    """The filter of a case, and its other arguments."""
    kwargs = (CASES | LONG_CASES)[case]
    return kwargs["f"], {k: v for k, v in kwargs.items() if k != "f"}
