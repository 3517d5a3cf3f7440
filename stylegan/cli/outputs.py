# SPDX-License-Identifier: Apache-2.0
"""Files and folders that commands write after long work."""

import contextlib
import errno
import os
import re
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
        path: where; its folder is made. Through a link, where that points.
        option: that named it, for the message.
    Yields: the path to write to until then, with the same suffix.
    Raises: click.BadParameter if it cannot be written, OSError with its name if the disk is full.
    """
    from stylegan.imaging import place_of

    named = Path(path)
    make_folder(named.parent, option)
    try:
        path = place_of(named)
        part = path.with_name(f".{os.getpid()}.part.{path.name}")
        if path.is_dir():
            raise IsADirectoryError(None, "is a folder")
        part.touch()
        mode = part.stat().st_mode
    except OSError as e:
        reason = f"{named}: cannot be written ({e.strerror})"
        raise click.BadParameter(reason, param_hint=option) from e
    try:
        yield part
        part.chmod(mode)  # what some libraries write is for the owner alone
        part.replace(path)
    except Exception as e:
        _name_what_was_written(e, part, named)
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
    Raises: click.BadParameter if it is there or cannot be made, OSError with its name if the disk
        is full.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise click.BadParameter(f"{path}: is there already", param_hint=option)
    make_folder(path.parent, option)
    part = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        part.mkdir()
    except OSError as e:
        reason = f"cannot make the folder {path} ({e.strerror})"
        raise click.BadParameter(reason, param_hint=option) from e
    try:
        yield part
        if path.exists():
            path.rmdir()
        part.replace(path)
    except Exception as e:
        _name_what_was_written(e, part, path)
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _name_what_was_written(e, part, path):
    """Raises: OSError that names `path`, if `e` says that `part` could not be written."""
    text = re.search(r"\(os error (\d+)\)", str(e))  # of safetensors
    if isinstance(e, OSError):
        # Else it is of what was read.
        inside = e.filename is not None and str(e.filename).startswith(str(part))
        if not inside and not (e.filename is None and e.errno in FULL):
            return
        number, reason = e.errno, e.strerror or str(e)
    elif isinstance(e.__context__, OSError) and e.__context__.errno in FULL:  # of torch.save
        number, reason = e.__context__.errno, e.__context__.strerror
    elif text and int(text[1]) in FULL:
        number, reason = int(text[1]), os.strerror(int(text[1]))
    else:
        return
    raise OSError(number, reason, str(path)) from e
