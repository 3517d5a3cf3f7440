# SPDX-License-Identifier: Apache-2.0
"""Files and folders that commands write after long work. None is replaced without --overwrite."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from stylegan.cli.params import make_folder
from stylegan.errors import UserError
from stylegan.files import whole_file, whole_folder

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace files that exist.")


def check_free(paths: Sequence[str | Path], overwrite: bool, option: str | None = None) -> None:
    """Refuse to replace files. Every command calls it before its long work.

    Args:
        paths: what the command will write.
        overwrite: whether --overwrite was given.
        option: that with another value writes elsewhere; None: a positional argument does.
    Raises: UserError if one exists and may not be replaced.
    """
    found = [] if overwrite else [path for path in paths if _is_there(path)]
    elsewhere = f", {option} writes elsewhere" if option else ""
    if len(found) == 1:
        raise UserError(found[0], f"already exists; --overwrite replaces it{elsewhere}")
    if found:
        raise UserError(
            found[0],
            f"already exists, and {len(found) - 1:,} more of the files to write; --overwrite "
            f"replaces them{elsewhere}",
        )


def _is_there(path: str | Path) -> bool:
    """Whether a file, folder or link would be replaced; writing refuses a device or a pipe."""
    return os.path.isfile(path) or os.path.isdir(path) or os.path.islink(path)


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
def output_folder(
    path: str | Path, option: str, overwrite: bool = False, marker: str | None = None
) -> Iterator[Path]:
    """`whole_folder` for a path that a command-line option names. The parent is created.

    Args: overwrite, marker: as for `whole_folder`.
    Raises: click.BadParameter if something is there that may not be replaced, or the folder cannot
        be made; OSError that names it if the disk fills up later.
    """
    make_folder(Path(path).parent, option)
    with contextlib.ExitStack() as stack:
        try:
            part = stack.enter_context(whole_folder(path, overwrite=overwrite, marker=marker))
        except FileExistsError as e:
            raise click.BadParameter(f"{path}: already exists", param_hint=option) from e
        except OSError as e:
            reason = f"cannot make the folder {path} ({e.strerror})"
            raise click.BadParameter(reason, param_hint=option) from e
        yield part
