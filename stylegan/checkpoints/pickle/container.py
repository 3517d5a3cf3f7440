# SPDX-License-Identifier: Apache-2.0
"""Any checkpoint of another program, as plain data."""

import gc

from stylegan.checkpoints.pickle.machine import Refusal
from stylegan.checkpoints.pickle.source import File
from stylegan.checkpoints.pickle.torchfile import MAGIC, ZIP, read_legacy, read_zip
from stylegan.checkpoints.pickle.unpickle import unpickle
from stylegan.errors import CheckpointError


def read_root(path):
    """(File, the value in it): a pickle, or a file of torch.save.

    Raises: CheckpointError if it is refused, damaged or of another kind; OSError.
    """
    file = File(path)
    collecting = gc.isenabled()
    gc.disable()  # it would look through all of what is read again and again: most of the time
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
    return file, root


def _read(file, start):
    if start.startswith(ZIP):
        return read_zip(file)
    if start[:1] != b"\x80":
        raise Refusal(
            "expected a snapshot folder, a run folder or a checkpoint (NVIDIA's .pkl, rosinality's "
            ".pt), got a file that is neither a pickle nor one of torch.save"
        )
    value, _ = unpickle(file, file.view)
    return read_legacy(file, file.view) if value == MAGIC else value
