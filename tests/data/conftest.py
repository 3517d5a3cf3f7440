# SPDX-License-Identifier: Apache-2.0
import zipfile

import pytest


@pytest.fixture(params=["folder", "zip"])
def store(request, tmp_path):
    """store({name: bytes}) -> path of a folder or a zip that holds these files."""

    def make(files):
        if request.param == "zip":
            path = tmp_path / "images.zip"
            with zipfile.ZipFile(path, "w") as z:
                for name, data in files.items():
                    z.writestr(name, data)
            return path
        path = tmp_path / "images"
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        return path

    return make
