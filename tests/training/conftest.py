# SPDX-License-Identifier: Apache-2.0
import pytest
from support.pictures import encoded, picture


@pytest.fixture
def images(tmp_path):
    """A folder of 10 images of 16 px in two classes."""
    for i in range(10):
        path = tmp_path / "images" / ("even", "odd")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture((16, 16), seed=i)))
    return tmp_path / "images"
