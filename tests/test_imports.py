# SPDX-License-Identifier: Apache-2.0
"""Data flows one way: nothing imports from a floor above its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the ground up; a module may import from its own floor and those below it.
FLOORS = [
    ["stylegan_ops"],
    ["stylegan", "stylegan.words", "stylegan.errors", "stylegan.files", "stylegan.device"],
    ["stylegan.imaging", "stylegan.config"],
    ["stylegan.data"],
    ["stylegan.models"],
    ["stylegan.checkpoints"],
    ["stylegan.networks"],
    ["stylegan.graphs", "stylegan.pipeline", "stylegan.inference"],
    ["stylegan.metrics"],
    ["stylegan.runs"],
    ["stylegan.training"],
    ["stylegan.editing", "stylegan.video"],
    ["stylegan.cli"],
]


def floor_of(module):
    names = {name: i for i, names in enumerate(FLOORS) for name in names}
    while module not in names:
        assert "." in module, f"{module} has no floor: give it one in FLOORS"
        module = module.rpartition(".")[0]
    # A module right under stylegan must be named: "stylegan" itself is only the package.
    return names[module], module


def modules():
    for package in ("stylegan_ops", "stylegan"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module, path", [pytest.param(m, p, id=m) for m, p in modules()])
def test_nothing_imports_upward(module, path):
    known = {name for name, _ in modules()}
    floor, name = floor_of(module)
    assert name != "stylegan" or module == "stylegan", f"{module}: give it a floor in FLOORS"
    for target in imports_of(path):
        if target in known and target != "stylegan":
            assert floor_of(target)[0] <= floor, f"{module} imports {target} from above"


def test_a_wrong_import_would_be_found(tmp_path):
    assert floor_of("stylegan.training.step")[0] > floor_of("stylegan.models.layers")[0]
    bad = tmp_path / "bad.py"
    bad.write_text("from stylegan.training import losses\nimport stylegan.cli.main")
    assert {"stylegan.training.losses", "stylegan.cli.main"} <= set(imports_of(bad))


def test_the_command_line_starts_without_torch():
    code = "import sys; import stylegan.cli.main as m\n"
    code += "for c in m.COMMANDS: m.program.get_command(None, c)\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_source_file_names_its_licence():
    for folder in ("stylegan", "stylegan_ops", "tests", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            assert path.read_text("utf-8").startswith("# SPDX-License-Identifier: Apache-2.0\n"), (
                path
            )
