# SPDX-License-Identifier: Apache-2.0
"""The imports of a tree of Python packages, read from the source; lazy imports count."""

import ast
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """`module` takes `name` from `target`; name None is the module itself."""

    module: str
    target: str
    name: str | None
    line: int

    def __str__(self):
        return f"{self.module}:{self.line} imports {self.target}" + (
            f".{self.name}" if self.name else ""
        )


class Tree:
    """The modules of some packages and what they import from each other.

    Args:
        root: folder that holds the packages.
        packages: their names.
    """

    def __init__(self, root, packages):
        self.packages = packages
        self.sources = {}
        for package in packages:
            for path in sorted((Path(root) / package).rglob("*.py")):
                parts = path.relative_to(root).with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                self.sources[name] = ast.parse(path.read_text("utf-8"), str(path))
        self.exports = {m: _exports(tree) for m, tree in self.sources.items()}
        self.imports = [i for m in self.sources for i in self._imports_of(m)]

    def _imports_of(self, module):
        """Import statements, and attributes of imported modules (`stylegan_ops.planning`)."""
        bound = {}
        for node in ast.walk(self.sources[module]):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name in self.sources:
                        yield Import(module, alias.name, None, node.lineno)
                        bound[alias.asname or alias.name] = alias.name
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}:{node.lineno}: relative import"
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    if inner in self.sources:
                        yield Import(module, inner, None, node.lineno)
                        bound[alias.asname or alias.name] = inner
                    elif node.module in self.sources:
                        yield Import(module, node.module, alias.name, node.lineno)
            elif isinstance(node, ast.Call):  # import_module("stylegan.cli." + name)
                if ast.unparse(node.func).endswith("import_module") and node.args:
                    target = node.args[0]
                    if isinstance(target, ast.Constant) and target.value in self.sources:
                        yield Import(module, target.value, None, node.lineno)
        for node in ast.walk(self.sources[module]):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in bound:
                yield Import(module, bound[ast.unparse(node.value)], node.attr, node.lineno)

    def circles(self):
        """Groups of modules that import each other, lazily or not; a face (`__init__`) counts only
        where it is named."""
        graph = {m: set() for m in self.sources}
        for i in self.imports:
            if i.target != i.module:
                graph[i.module].add(i.target)
        return [group for group in _components(graph) if len(group) > 1]


def room_of(module):
    """The folder right below a package, or the module itself: stylegan.data of
    stylegan.data.dataset."""
    return ".".join(module.split(".")[:2])


def _exports(tree):
    """The names in `__all__`, as far as they are written out; None without one."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return {n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant)}
    return None


def _components(graph):
    """Strongly connected components (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found
