# SPDX-License-Identifier: Apache-2.0
"""Scripts of benchmarks/ as modules."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "benchmarks"


def load_script(path: Path) -> ModuleType:
    """The module of a script, which imports its own package `support` instead of this one."""
    mine = {name: module for name, module in sys.modules.items() if _is_support(name)}
    for name in mine:
        del sys.modules[name]
    sys.path.insert(0, str(path.parent))
    try:
        return importlib.import_module(path.stem)
    finally:
        sys.path.remove(str(path.parent))
        for name in [name for name in sys.modules if _is_support(name)]:
            del sys.modules[name]
        sys.modules.update(mine)


def _is_support(name: str) -> bool:
    return name.partition(".")[0] == "support"
