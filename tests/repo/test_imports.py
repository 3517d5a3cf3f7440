# SPDX-License-Identifier: Apache-2.0
"""Every module has a floor and imports only from its own floor and those below; no two modules
import each other; no package takes another's private names. See docs/architecture.md."""

import subprocess
import sys
from pathlib import Path

import pytest
from repo.imports import Tree, room_of

ROOT = Path(__file__).parents[2]

# From the ground up: rooms, or modules of a room that are on another floor than it.
FLOORS = [
    ["stylegan_ops.runtime.extension"],  # what building returns and loading takes
    ["stylegan_ops.build"],
    ["stylegan_ops.runtime"],
    ["stylegan_ops.ops", "stylegan_ops.layer"],
    ["stylegan_ops.doctor"],
    ["stylegan_ops"],  # the public names
    ["stylegan"],  # the public names, imported at first use
    ["stylegan.words", "stylegan.threads"],
    ["stylegan.errors"],
    ["stylegan.files", "stylegan.bars", "stylegan.device", "stylegan.identify"],
    ["stylegan.imaging"],
    ["stylegan.config"],
    ["stylegan.data"],
    ["stylegan.models"],
    ["stylegan.checkpoints"],
    ["stylegan.snapshots"],
    ["stylegan.placement", "stylegan.snapshot_files", "stylegan.training_data"],
    ["stylegan.builders"],
    ["stylegan.networks", "stylegan.latents"],
    ["stylegan.inference"],
    ["stylegan.metrics"],
    ["stylegan.runs"],
    ["stylegan.training"],
    ["stylegan.video"],
    ["stylegan.cli"],
    ["stylegan.__main__"],
]


def floor_of(module):
    for name in (module, room_of(module)):
        for i, rooms in enumerate(FLOORS):
            if name in rooms:
                return i
    return None


def problems_of(tree):
    """Lines, one for every import that breaks a rule."""
    lines = [f"{m} has no floor: add it to FLOORS" for m in tree.sources if floor_of(m) is None]
    for i in tree.imports:
        above, below = floor_of(i.module), floor_of(i.target)
        same_room = room_of(i.module) == room_of(i.target)
        if above is None or below is None:
            continue
        if below > above:
            lines.append(f"{i}, which is on a higher floor")
        private = [part for part in (*i.target.split("."), i.name or "") if _is_private(part)]
        if private and not same_room:
            lines.append(f"{i}, which is private")
        exports = tree.exports[i.target]
        if i.name and exports is not None and not same_room and i.name not in exports:
            lines.append(f"{i}, which is not in its __all__")
        if i.module.split(".")[0] == "stylegan" and i.target.startswith("stylegan_ops."):
            if i.target.removeprefix("stylegan_ops.") not in tree.exports["stylegan_ops"]:
                lines.append(f"{i}, but stylegan_ops alone is public")
    lines += [f"these import each other: {', '.join(group)}" for group in tree.circles()]
    return sorted(set(lines))


def _is_private(name):
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def test_imports():
    tree = Tree(ROOT, ("stylegan_ops", "stylegan"))
    assert len(tree.sources) > 100 and len(tree.imports) > 500
    assert problems_of(tree) == []


@pytest.mark.parametrize(
    "file, line, problem",
    [
        (
            "stylegan/data/loader.py",
            "from stylegan.training import loop",
            "stylegan.data.loader:1 imports stylegan.training.loop, which is on a higher floor",
        ),
        (
            "stylegan/data/loader.py",
            "def f():\n    import stylegan.cli.train",  # lazily
            "stylegan.data.loader:2 imports stylegan.cli.train, which is on a higher floor",
        ),
        (
            "stylegan/data/loader.py",
            "def f():\n    from stylegan.data.source import x",  # which imports the loader
            "these import each other: stylegan.data.loader, stylegan.data.source",
        ),
        (
            "stylegan/cli/train.py",
            "from stylegan.data.source import _opened",
            "stylegan.cli.train:1 imports stylegan.data.source._opened, which is private",
        ),
        (
            "stylegan/cli/train.py",
            "from stylegan.data import source\nsource._opened",
            "stylegan.cli.train:2 imports stylegan.data.source._opened, which is private",
        ),
        (
            "stylegan/cli/train.py",
            "import stylegan_ops\nstylegan_ops.hidden()",
            "stylegan.cli.train:2 imports stylegan_ops.hidden, which is not in its __all__",
        ),
        (
            "stylegan/cli/train.py",
            "from stylegan_ops.ops import bias_act",
            "stylegan.cli.train:1 imports stylegan_ops.ops.bias_act, but stylegan_ops alone is "
            "public",
        ),
        (
            "stylegan/attic/old.py",
            "",
            "stylegan.attic.old has no floor: add it to FLOORS",
        ),
    ],
)
def test_each_rule_finds_what_breaks_it(tmp_path, file, line, problem):
    content = {
        "stylegan_ops/__init__.py": "from stylegan_ops.ops.bias_act import f\n__all__ = ['f']",
        "stylegan_ops/ops/bias_act.py": "def f(): pass",
        "stylegan/data/source.py": "from stylegan.data.loader import f",
        "stylegan/data/loader.py": "def f(): pass",
        "stylegan/training/loop.py": "from stylegan.data import loader",
        "stylegan/cli/train.py": "from stylegan_ops import f",
    }
    for name, text in content.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert problems_of(Tree(tmp_path, ("stylegan_ops", "stylegan"))) == []
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(line)
    assert problem in problems_of(Tree(tmp_path, ("stylegan_ops", "stylegan")))


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
