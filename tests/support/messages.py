# SPDX-License-Identifier: Apache-2.0
"""The messages in the source, and those that a page lists. A placeholder is "..." in both."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
GAP = "..."


@dataclass(frozen=True)
class Raised:
    """A `raise Error(...)` with its message."""

    where: str  # file:line
    error: str
    text: str


def listed(page):
    """The messages in the first column of a page's tables."""
    text = page.read_text("utf-8")
    return re.findall(r"^\| `([^`]+)` \|", text, re.M)


def fragments(text):
    """The parts of a message between its placeholders, without punctuation at their ends."""
    parts = (part.strip(" :;,()'\"") for part in text.split(GAP))
    return [part for part in parts if re.search("[a-zA-Z]", part)]


@cache
def in_source():
    """Every text in the source, and in click, as one text; each on a line."""
    files = [ROOT / "setup.py", *Path(click.__file__).parent.glob("*.py")]
    files += [p for room in ("stylegan", "stylegan_ops") for p in (ROOT / room).rglob("*.py")]
    found = {text for path in files for text in _texts(path)}
    return "\n".join(sorted(found))


def raised(folder, errors):
    """The `Raised` of some classes of errors in a folder, relative to the repository."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.FunctionDef):
                found += _raised_in(node, path, errors)
    return sorted(set(found), key=lambda r: r.where)


def is_listed(text, messages):
    """Whether one of the messages is that of a text in the source."""
    return any(_fits(message, text) for message in messages)


def _fits(message, text):
    at = letters = 0
    for part in fragments(message):
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
        letters += _letters(part)
    return letters >= 0.5 * sum(map(_letters, fragments(text)))


def _letters(text):
    return sum(map(str.isalpha, text))


def _raised_in(function, path, errors):
    names = {}  # the last text of each variable, as far as it is one
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names[node.targets[0].id] = _text(node.value, names)
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            error = ast.unparse(node.exc.func).split(".")[-1]
            if error in errors and node.exc.args:
                texts = [_text(arg, names) for arg in node.exc.args]
                two = errors[error] if isinstance(errors, dict) else 1
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                yield Raised(where, error, ": ".join(texts[:two]))


def _texts(path):
    """Texts of a file. Two arguments of a call count as one, with a colon: UserError makes that."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, (ast.Constant, ast.JoinedStr)):
            text = _text(node, {})
            if text != GAP:
                yield text
        elif isinstance(node, ast.Call) and len(node.args) > 1:
            yield ": ".join(_text(arg, {}) for arg in node.args[:2])


def _text(node, names):
    """The text of an expression; what is not known before it runs is a gap."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return " ".join(node.value.replace("`", "").split("\n"))
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, {}) for part in node.values)
    if isinstance(node, ast.Name):
        return names.get(node.id, GAP)
    return GAP


@cache
def _tree(path):
    return ast.parse(path.read_text("utf-8"))
