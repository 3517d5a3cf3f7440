# SPDX-License-Identifier: Apache-2.0
"""Files and folders that appear complete or not at all.

Both write under a temporary name in the same folder, `.part-<process>-<name>`, and rename at the
end. An error, Ctrl-C or SIGTERM leaves nothing behind. After kill -9 the temporary file stays;
`remove_partial` deletes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

PARTIAL = ".part-"  # how temporary names begin
# What torch.save says when the disk is full; which of these depends on where its buffer ends.
_TORCH_WRITER = re.compile(r"PytorchStreamWriter|inline_container|iostream error|file write failed")
_DISK_ERRORS = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO")}


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str], fsync: bool = False) -> Iterator[Path]:
    """Write a file that appears when the block ends without an error, and not before.

    Args:
        path: the file; its folder exists. The target of a link is replaced, not the link.
        fsync: wait until the disk holds the content.
    Yields: the temporary path to write to, which has the suffix of `path` and exists already, so
        that a missing permission shows before long work begins.
    Raises: OSError that names `path` if it cannot be written or the disk is full.
    """
    path = Path(path)
    with _named(path, None):
        target = _target(path)
    part = _partial(target)
    with _temporary(part):
        with _named(path, None):
            part.touch()
            mode = part.stat().st_mode
        with _named(path, part):
            yield part
            part.chmod(mode)  # some libraries write files that only the owner can read
            if fsync:
                _fsync(part)
            part.replace(target)
            if fsync:
                _fsync(target.parent)


@contextlib.contextmanager
def whole_folder(
    path: str | os.PathLike[str],
    fsync: bool = False,
    overwrite: bool = False,
    marker: str | None = None,
    aside: Path | None = None,
) -> Iterator[Path]:
    """Write a folder that appears when the block ends without an error, and not before.

    A folder that exists is kept, because it may be a mount point, and filled at the end; with
    `aside` it is replaced as a whole.

    Args:
        path: the folder; its parent exists.
        fsync: wait until the disk holds the content.
        overwrite: replace the content of a folder that is not empty.
        marker: name of the file that makes the folder valid: the old one is deleted first and the
            new one moved last, so that a kill in between leaves no mixture that looks valid.
        aside: rename the folder that exists to this, and delete it once the new one is in place. A
            kill in between leaves it there.
    Yields: the temporary folder to write to.
    Raises: FileExistsError if something is there and may not be replaced, before the block or at
        its end; OSError that names `path` if it cannot be written or the disk is full.
    """
    path = Path(path)
    with _named(path, None):
        inside = path.is_dir() and not aside
        if os.path.lexists(path) and not aside and not _may_fill(path, overwrite):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    part = _partial(path / path.name if inside else path)
    with _temporary(part):
        with _named(path, None):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
        with _named(path, part):
            yield part
            if fsync:
                for written in [*part.rglob("*"), part]:
                    _fsync(written)
            if inside:
                _fill(path, part, marker)
            else:
                _rename_new(part, path, aside)
            if fsync:
                _fsync(path if inside else path.parent)
            if aside:
                shutil.rmtree(aside, ignore_errors=True)


def remove_partial(folder: str | os.PathLike[str], name: str | None = None) -> None:
    """Delete what killed processes left in `folder`, of the file or folder called `name`, or of all
    of them. Call it only while no other process writes there."""
    for path in Path(folder).glob(f"{PARTIAL}*"):
        of = re.fullmatch(re.escape(PARTIAL) + r"\d+-(.*)", path.name, re.S)
        if of and name in (None, of[1]):
            remove(path)


def remove(path: Path) -> None:
    """Delete a file, link or folder, as far as it is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    """The file that is replaced: where links lead. Raises: OSError for a device, pipe or folder."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "is no ordinary file", str(path))
    return target


def _partial(path: Path) -> Path:
    return path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")


def _may_fill(path: Path, overwrite: bool) -> bool:
    return path.is_dir() and (overwrite or not any(path.iterdir()))


def _fill(path: Path, part: Path, marker: str | None) -> None:
    """Replace the content of `path` by that of `part`, a folder in it."""
    for old in sorted(path.iterdir(), key=lambda p: p.name != marker):
        if old != part:
            remove(old)
    for new in sorted(part.iterdir(), key=lambda p: p.name == marker):
        new.rename(path / new.name)


def _rename_new(part: Path, path: Path, aside: Path | None) -> None:
    if aside and path.exists():
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
    try:
        part.rename(path)
    except OSError as e:  # the system calls it "Directory not empty"
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(part)) from e
        raise


def _fsync(path: Path) -> None:
    # Windows cannot open a folder, and does not need to.
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _named(path: Path, part: Path | None) -> Iterator[None]:
    """Errors of writing `part` become an OSError that names `path`; others pass.

    Args: part: None takes every OSError as one of writing.
    """
    try:
        yield
    except Exception as e:
        error = _write_error(e, path, part)
        if error is None:
            raise
        raise error from e


def _write_error(e: Exception, path: Path, part: Path | None) -> OSError | None:
    """The OSError to raise for `e`, or None if it is not about what was written."""
    if isinstance(e, OSError):
        named_part = e.filename is not None and str(e.filename).startswith(str(part))
        if part is None or named_part or (e.filename is None and e.errno in _DISK_ERRORS):
            return OSError(e.errno, e.strerror or str(e), str(path))
        return None
    cause = e.__context__
    if isinstance(cause, OSError) and cause.errno in _DISK_ERRORS:  # torch.save, Pillow
        return OSError(cause.errno, cause.strerror, str(path))
    number = re.search(r"\bos error (\d+)\b", str(e))  # safetensors
    if number and int(number[1]) in _DISK_ERRORS:
        code = int(number[1])
    elif isinstance(e, RuntimeError) and _TORCH_WRITER.search(str(e)):
        code = errno.ENOSPC if shutil.disk_usage(path.parent).free < 1 << 20 else errno.EIO
    else:
        return None
    return OSError(code, os.strerror(code), str(path))


# Temporary paths, and the process that writes each: a forked process inherits the table and the
# handlers, but not the files.
_writing: dict[Path, int] = {}


@contextlib.contextmanager
def _temporary(part: Path) -> Iterator[None]:
    """`part` is deleted at the end, if it is still there, and before SIGTERM or SIGHUP ends the
    process. A handler of the program's own stays."""
    replaced = {}
    _writing[part] = os.getpid()
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                replaced[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
        del _writing[part]
        with contextlib.suppress(OSError):
            remove(part)


def _end(number: int, frame: FrameType | None) -> None:
    for part, process in list(_writing.items()):
        if process == os.getpid():
            with contextlib.suppress(OSError):
                remove(part)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
