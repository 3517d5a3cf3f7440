# SPDX-License-Identifier: Apache-2.0
"""Files that commands write after long work."""

import contextlib
import errno
import os
from pathlib import Path

import click

from stylegan.cli.params import make_folder

FULL = [getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO")]


@contextlib.contextmanager
def output_file(path, option):
    """A file that appears whole, when the `with` ends well, or not at all.

    Whether it can be written shows at once, before the work.

    Args:
        path: where; its folder is made.
        option: that named it, for the message.
    Yields: the path to write to until then, with the same suffix.
    Raises: click.BadParameter if it cannot be written.
    """
    path = Path(path)
    make_folder(path.parent, option)
    part = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "is a folder")
        part.touch()
    except OSError as e:
        reason = f"{path}: cannot be written ({e.strerror})"
        raise click.BadParameter(reason, param_hint=option) from e
    try:
        yield part
        part.replace(path)
    except OSError as e:
        ours = e.filename in (str(part), part)
        if ours or (e.filename is None and e.errno in FULL):  # else of what was read
            raise OSError(e.errno, e.strerror or str(e), str(path)) from e
        raise
    finally:
        part.unlink(missing_ok=True)
