# SPDX-License-Identifier: Apache-2.0
import pytest

import stylegan_ops

WITHOUT_KERNELS = {"grid_sample"}


@pytest.fixture(autouse=True)
def kernels_run(request):
    """A test with a device runs kernels and not the reference, where they can be loaded. It may
    choose the reference itself."""
    if "device" not in request.fixturenames or request.path.parent.name in WITHOUT_KERNELS:
        yield
        return
    device = request.getfixturevalue("device")
    if stylegan_ops.mode() == "reference" or stylegan_ops.load(device.type) is not None:
        yield
        return
    with stylegan_ops.backend("native"):
        yield
