# SPDX-License-Identifier: Apache-2.0
"""Scripts of benchmarks/ and docs/ as modules; pytest has these folders on its path."""

import importlib
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"


def load_script(path: Path) -> ModuleType:
    """The module of a script in benchmarks/ or docs/."""
    assert path.parent in (FOLDER, ROOT / "docs")
    return importlib.import_module(path.stem)
