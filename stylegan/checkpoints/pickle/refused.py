# SPDX-License-Identifier: Apache-2.0
"""Which names that nobody knows may stand for themselves, and which end reading.

Nothing is ever imported or called by a name, so that any name could stand for itself. Names that
run something are still refused: no honest checkpoint has them, and a file that has them is better
not opened by any program.
"""

from __future__ import annotations

import re
import sys

MAX_NAME = 200  # characters of a module and a name together
CLASS = re.compile(r"_*[A-Z]\w*")  # by convention; functions begin with a small letter
# Modules of Python that run something, in any part of a path.
MODULES = frozenset(
    "os posix nt sys subprocess builtins importlib runpy pty socket shutil webbrowser ctypes "
    "marshal pickle cpickle operator functools".split()
)
# Functions that do.
NAMES = frozenset(
    "eval exec execfile compile getattr setattr delattr import_module system popen Popen load "
    "loads open attrgetter methodcaller itemgetter partial run_path run_module globals locals "
    "vars breakpoint".split()
)
# The only names of the standard library that stand for themselves: they hold data.
STANDARD = {
    "datetime": {"datetime", "date", "time", "timedelta", "timezone"},
    "collections": {"deque", "ChainMap", "UserDict", "UserList", "UserString"},
    "builtins": {"complex", "slice", "range", "object", "frozenset", "bytearray", "tuple", "str",
                 "bool", "type"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "enum": {"Enum", "IntEnum", "Flag", "IntFlag"},
    "types": {"SimpleNamespace", "MappingProxyType"},
    "uuid": {"UUID", "SafeUUID"},
    "random": {"Random"},
    "typing": {"Any", "Dict", "List", "Optional", "Tuple", "Union", "Sequence"},
    "logging": {"Logger", "getLogger"},
    "time": {"struct_time"},
    "zoneinfo": {"ZoneInfo"},
    "pathlib": {"PurePath", "PurePosixPath", "PureWindowsPath"},
}  # fmt: skip
STANDARD["__builtin__"] = STANDARD["builtins"] | {"unicode", "long", "xrange"}  # of Python 2
STANDARD_LIBRARY = {name.lower() for name in sys.stdlib_module_names} | {
    "__builtin__", "copy_reg", "cpickle", "commands", "imp", "distutils", "asyncore",
}  # fmt: skip
# Packages that exist to run code from files, and subpackages of PyTorch that do.
RUNNERS = frozenset("dill cloudpickle joblib pip setuptools pkg_resources pytest _pytest".split())
TORCH = frozenset("hub jit serialization package ops utils.cpp_extension".split())
# Packages whose functions are known: only classes stand for themselves, and these functions.
ONLY_CLASSES = frozenset(
    "torch torchvision numpy scipy dnnlib torch_utils training R3GAN __main__ stylegan".split()
)
FUNCTIONS = re.compile(
    r"torch\.nn\.functional\.[a-z]\w*|torch\._C\._nn\.[a-z]\w*"
    r"|torch\._utils\._rebuild_(sparse_tensor|qtensor|tensor_v3|device_tensor_from_numpy"
    r"|meta_tensor_no_storage)"
    r"|numpy\.random\._pickle\.__(randomstate|bit_generator|generator)_ctor"
    r"|numpy\.random\.(\w+\.)?(__RandomState_ctor|__pyx_unpickle_\w+)"
    r"|torch\.(u?int|q?u?int|float|bfloat|complex|bits)\d\w*|torch\.serialization\._get_layout"
    r"|torch\.per_(tensor|channel)_(affine|symmetric)(_float_qparams)?"
    r"|numpy\.(float|int|uint|complex|bool|str|bytes|object|void)\d*_?"
)


def may_stand(module: str, name: str) -> bool:
    """Whether a name that nobody knows may stand for itself, as the class of an inert object."""
    full = f"{module}.{name}"
    parts = full.split(".")
    if len(full) > MAX_NAME or not all(part.isidentifier() for part in parts):
        return False
    if FUNCTIONS.fullmatch(full) or name in STANDARD.get(module, ()):
        return True
    root, bare = parts[0], [part.lstrip("_") for part in parts]
    in_path = {*bare, *(part.lower() for part in bare[: module.count(".") + 1])}
    if in_path & MODULES or NAMES & {*bare[module.count(".") + 1 :]}:
        return False
    if root.lower() in STANDARD_LIBRARY or root.lower() in RUNNERS:
        return False
    if any(part.startswith("__") for part in parts[1:]) or name in sys.stdlib_module_names:
        return False
    if root == "torch" and any(f"{module}.".startswith(f"torch.{part}.") for part in TORCH):
        return False
    if root in ONLY_CLASSES:
        return all(CLASS.fullmatch(part) for part in name.split("."))
    return True
