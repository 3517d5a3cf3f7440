# SPDX-License-Identifier: Apache-2.0
"""Scripts of benchmarks/ as modules; pytest has that folder on its path."""

import importlib
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "benchmarks"


def load_script(path: Path) -> ModuleType:
    """The module of a script in benchmarks/."""
    assert path.parent == FOLDER
    return importlib.import_module(path.stem)
