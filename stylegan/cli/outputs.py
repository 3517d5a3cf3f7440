# SPDX-License-Identifier: Apache-2.0
"""Files and folders that commands write after long work."""

import contextlib
import errno
import os
import shutil
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
        mode = part.stat().st_mode
    except OSError as e:
        reason = f"{path}: cannot be written ({e.strerror})"
        raise click.BadParameter(reason, param_hint=option) from e
    try:
        yield part
        part.chmod(mode)  # what some libraries write is for the owner alone
        part.replace(path)
    except OSError as e:
        ours = e.filename in (str(part), part)
        if ours or (e.filename is None and e.errno in FULL):  # else of what was read
            raise OSError(e.errno, e.strerror or str(e), str(path)) from e
        raise
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def output_folder(path, option):
    """A new folder that appears whole, when the `with` ends well, or not at all.

    Args:
        path: where; nothing may be there, or an empty folder.
        option: that named it, for the message.
    Yields: a folder to fill until then.
    Raises: click.BadParameter if it is there or cannot be made.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise click.BadParameter(f"{path}: is there already", param_hint=option)
    part = path.with_name(f".{os.getpid()}.part.{path.name}")
    make_folder(part, option)
    try:
        yield part
        if path.exists():
            path.rmdir()
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
