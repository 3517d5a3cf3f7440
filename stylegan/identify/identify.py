# SPDX-License-Identifier: Apache-2.0
"""What a path is, and why it is not what a command wants."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from stylegan.errors import UserError
from stylegan.identify.files import HEAD, identify_bytes, identify_file
from stylegan.identify.folders import identify_folder
from stylegan.identify.kinds import KINDS, Kind, Role

ADDRESS = re.compile(r"([a-z][a-z0-9+]{1,9}):/{1,2}\S", re.I)  # Path() makes one slash of two
STORES = {"s3": "s3", "gs": "gs", "hf": "hub", "hub": "hub"}  # by the scheme of an address
SHOWN = 3  # suffixes of files in a message
MAX_SIBLINGS = 2000  # files that a misspelt name is compared with
READ_IMAGES = "expected a folder or a zip archive of images"
NO_IMAGES = "holds no images that can be opened"
READ_NETWORKS = "expected the folder of a run or of a snapshot, or a network file"
FIRST_SNAPSHOT = "a run writes the first about a minute after training begins"


def identify(path: str | os.PathLike[str]) -> Kind | None:
    """What a file, a folder or an address is; None if it is unknown or does not exist.

    Raises: OSError if a file cannot be read.
    """
    if is_address(path):
        scheme = str(path).split(":")[0].lower()
        return KINDS[STORES.get(scheme, "url")]
    path = Path(path)
    if path.is_dir():
        return identify_folder(path)
    return identify_file(path) if path.is_file() else None


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether this is the address of something elsewhere, and no file or folder here."""
    return bool(ADDRESS.match(str(path))) and not os.path.exists(path)


def shown_address(path: str | os.PathLike[str]) -> str:
    """An address with both slashes, of which a Path keeps one; any other path as it is."""
    return re.sub(":/+", "://", str(path), count=1) if is_address(path) else str(path)


def refuse_address(path: str | os.PathLike[str]) -> None:
    """Raises: UserError if a path of a file is an address; it says how to get the file."""
    if is_address(path):
        raise UserError(shown_address(path), not_a_network(path))


def not_images(path: str | os.PathLike[str], names: Sequence[str] = ()) -> str:
    """Why `path` cannot be used as a data set, and the one thing to do.

    Args: names: of the files in it, if they are known.
    """
    try:
        kind = identify(path)
    except OSError as e:
        return f"cannot be read ({e.strerror})"
    if kind is None and Path(path).is_dir():
        return NO_IMAGES + _held(names)
    if kind is None:
        return _unknown(path, "there is no such folder or zip", READ_IMAGES)
    if kind.role is Role.NETWORK:
        if kind.step:
            return f"is {kind.what}, not images; {READ_IMAGES}"
        return f"is {kind.what}, not images; train --init-from takes networks"
    if kind.role is Role.IMAGES and not kind.step:
        return NO_IMAGES + _held(names)
    return f"is {kind.what}; {_filled(kind.step, path) or READ_IMAGES}"


def not_a_network(path: str | os.PathLike[str]) -> str:
    """Why `path` cannot be used as a network, and the one thing to do."""
    try:
        kind = identify(path)
    except OSError as e:
        return f"cannot be read ({e.strerror})"
    if kind is None:
        return _unknown(path, "there is no such folder or file", READ_NETWORKS)
    if kind is KINDS["images"]:
        return f"holds no snapshot, but images; {READ_NETWORKS}"
    if kind.role is Role.IMAGES:
        return f"is {kind.what}, not a network; {READ_NETWORKS}"
    if kind is KINDS["runs"]:
        return f"is {kind.what} without a snapshot; {FIRST_SNAPSHOT}"
    if kind.step:
        return f"is {kind.what}; {_filled(kind.step, path)}"
    what = f"{kind.what} without a snapshot" if Path(path).is_dir() else kind.what
    return f"is {what}; {READ_NETWORKS}"


def not_an_image(name: str, data: bytes) -> str:
    """Why a file of a data set is not an image. Args: name: of the file; data: its bytes."""
    kind = identify_bytes(Path(name), data[:HEAD], len(data))
    if kind is None or kind.what in ("a text", "a single image"):
        return "not an image that Pillow can read"
    return f"not an image but {kind.what}"


def _held(names: Sequence[str]) -> str:
    """What is there instead of images: "; it holds 24 .nef, 1 .txt"."""
    counts = Counter(os.path.splitext(name)[1].lower() for name in names)
    kinds = [f"{n:,} {suffix or 'without a suffix'}" for suffix, n in counts.most_common(SHOWN)]
    return f"; it holds {', '.join(kinds)}" if kinds else ""


def _filled(step: str, path: str | os.PathLike[str]) -> str:
    """A step with the path and the name in it, quoted for a shell."""
    if is_address(path):
        text = shown_address(path)
        name = text.rstrip("/").rpartition("/")[2]
    else:
        text, name = str(path), Path(path).name
    stem = re.sub(r"\.(tar\.\w+|\w{1,8})$", "", name, flags=re.I)
    values = {
        "PATH": text,
        "NAME": stem if stem and stem != name else f"{name}-images",
        "ADDRESS": text.partition("://")[2],
    }
    return re.sub("|".join(values), lambda match: shlex.quote(values[match[0]]), step)


def _unknown(path: str | os.PathLike[str], missing: str, expected: str) -> str:
    """The message for what does not exist, or whose kind is unknown."""
    path = Path(path)
    if path.is_dir():
        return f"holds no snapshot and no images; {expected}"
    if path.is_file():
        return f"is of an unknown kind; {expected}"
    if path.exists():
        return f"is neither a file nor a folder; {expected}"
    if str(path).startswith("~"):
        return f"{missing}; write the home folder out, or leave ~ outside of quotes"
    near = _siblings_like(path)
    if near:
        return f"{missing}; did you mean {near}?"
    if re.fullmatch(r"[\w-]+/[\w.-]+", str(path)) and not path.parent.exists():
        return f"{missing}; a model of Hugging Face is downloaded first: hf download {path}"
    return f"{missing}; {expected}"


def _siblings_like(path: Path) -> str | None:
    """A file or folder beside a missing one, with nearly its name."""
    try:
        with os.scandir(path.parent) as found:
            names = [entry.name for entry, _ in zip(found, range(MAX_SIBLINGS))]
    except (OSError, ValueError):
        return None
    by_case = {name.lower(): name for name in names if not name.startswith(".")}
    same_stem = sorted(n for n in by_case if n.partition(".")[0] == path.name.lower())
    near = same_stem or difflib.get_close_matches(path.name.lower(), by_case, 1, 0.8)
    return str(path.parent / by_case[near[0]]) if near else None
