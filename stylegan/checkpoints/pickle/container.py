# SPDX-License-Identifier: Apache-2.0
"""Any checkpoint of another program as plain data."""

from __future__ import annotations

import gc
import os
from typing import Any

from stylegan.checkpoints.pickle.allowed import ALLOWED
from stylegan.checkpoints.pickle.budget import Refusal
from stylegan.checkpoints.pickle.source import File, Region
from stylegan.checkpoints.pickle.torchfile import MAGIC, ZIP, read_legacy, read_zip
from stylegan.checkpoints.pickle.unpickle import HEAD, Unpickler
from stylegan.errors import CheckpointError
from stylegan.identify import begins_old


def read_root(path: str | os.PathLike[str]) -> Any:
    """The value in a pickle, or in a file of torch.save. Its tensors stay in the file.

    Raises: CheckpointError if it is refused, damaged or of an unknown kind; OSError.
    """
    file = File(path)
    collecting = gc.isenabled()
    gc.disable()  # it would traverse all that is read, again and again: most of the time
    try:
        root = _read(file, bytes(file.view[:16]))
    except Refusal as e:
        file.close()
        raise CheckpointError(path, str(e)) from e
    except BaseException:
        file.close()
        raise
    finally:
        if collecting:
            gc.enable()
    file.unmap()
    return root


def _read(file: File, start: bytes) -> Any:
    if start.startswith(ZIP):
        return read_zip(file, ALLOWED)
    if start[:1] != b"\x80" and not begins_old(bytes(file.view[:HEAD])):
        raise Refusal(
            "expected the folder of a run or of a snapshot, or a network file (NVIDIA's .pkl, "
            "rosinality's .pt), got a file that is neither a pickle nor written by torch.save"
        )
    region = Region(file, file.view)
    value = Unpickler(region, ALLOWED).read()
    return read_legacy(region, ALLOWED) if value == MAGIC else value
