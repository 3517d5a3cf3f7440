# SPDX-License-Identifier: Apache-2.0
"""The project's docstrings as Markdown, for mkdocstrings.

A docstring has a first part in words and then `Args:`, `Returns:`, `Raises:`, `Source:`, in one
line or with indented lines below.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Source):\s*(.*)$")
ITEM = re.compile(r"^([\w*][\w, *]*):\s+(.*)$")


class Docstrings(griffe.Extension):
    """Rewrites the docstring of every object."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by Griffe with every module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """A docstring as Markdown: sections in bold, arguments as a list."""
    lines: list[str] = []
    section = False
    for line in text.splitlines():
        match = SECTION.match(line)
        if match:
            section = True
            lines += ["", f"**{match[1]}:** {match[2]}".rstrip(), ""]
        elif not section or not line.strip():
            lines.append(line)
        elif not line.startswith(" "):  # text after the sections
            section = False
            lines.append(line)
        else:
            lines += _item(line)
    return "\n".join(lines)


def _item(line: str) -> list[str]:
    """A line below a section: the start of an argument, or the rest of one."""
    item = ITEM.match(line.strip())
    if item and len(line) - len(line.lstrip()) == 4:
        names = ", ".join(f"`{name.strip()}`" for name in item[1].split(","))
        return [f"- {names}: {item[2]}"]
    return [f"  {line.strip()}"]
