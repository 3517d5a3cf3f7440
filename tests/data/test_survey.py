# SPDX-License-Identifier: Apache-2.0
"""Lines on small images that are enlarged."""

from collections import Counter

import pytest

from stylegan.data.survey import Survey


@pytest.mark.parametrize(
    "sizes, lines",
    [
        ({(256, 256): 5, (300, 400): 2}, []),
        ({(250, 256): 5}, ["5 of 5 images looked at are smaller than 256x256 px and are enlarged"]),
        (
            {(64, 64): 3, (200, 200): 1, (256, 512): 4},
            [
                "4 of 8 images looked at are smaller than 256x256 px and are enlarged, half of "
                "them 4 times or more; a smaller --resolution fits them"
            ],
        ),
        (  # the shorter side counts, because the crop has to be filled
            {(100, 512): 2},
            [
                "2 of 2 images looked at are smaller than 256x256 px and are enlarged, half of "
                "them 2.6 times or more; a smaller --resolution fits them"
            ],
        ),
    ],
)
def test_small_images(sizes, lines):
    found = Survey(sum(sizes.values()), Counter(sizes), Counter(), [], {})
    assert found.notes((256, 256)) == lines and found.notes(None) == []
