# SPDX-License-Identifier: Apache-2.0
"""Files and folders that commands write after long work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from stylegan.cli.params import make_folder
from stylegan.files import whole_file, whole_folder


@contextlib.contextmanager
def output_file(path: str | Path, option: str) -> Iterator[Path]:
    """`whole_file` for a path that a command-line option names; its folder is created.

    Raises: click.BadParameter if it cannot be written, before the block; OSError that names it if
        the disk fills up later.
    """
    make_folder(Path(path).parent, option)
    with contextlib.ExitStack() as stack:
        try:
            part = stack.enter_context(whole_file(path))
        except OSError as e:
            reason = f"{path}: cannot be written ({e.strerror})"
            raise click.BadParameter(reason, param_hint=option) from e
        yield part


@contextlib.contextmanager
def output_folder(path: str | Path, option: str) -> Iterator[Path]:
    """`whole_folder` for a path that a command-line option names: nothing may exist there, or an
    empty folder. The parent is created.

    Raises: click.BadParameter if something is there or the folder cannot be made; OSError that
        names it if the disk fills up later.
    """
    make_folder(Path(path).parent, option)
    with contextlib.ExitStack() as stack:
        try:
            part = stack.enter_context(whole_folder(path))
        except FileExistsError as e:
            raise click.BadParameter(f"{path}: already exists", param_hint=option) from e
        except OSError as e:
            reason = f"cannot make the folder {path} ({e.strerror})"
            raise click.BadParameter(reason, param_hint=option) from e
        yield part
