# SPDX-License-Identifier: Apache-2.0
"""What the site shows differently from the Markdown files.

- A page may link to any file of the repository, which works on a code forge. The site has the pages
  only: a link that leads out of docs/ becomes a link to the repository if mkdocs.yml has a
  `repo_url`, else plain text.
- `<!-- help of all commands -->` becomes what `stylegan COMMAND --help` prints.
- CONTRIBUTING.md is shown as a page of the site.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Any

import click

from stylegan.cli.main import COMMANDS, program

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
HELP = "<!-- help of all commands -->"
FROM_ROOT = "contributing.md"  # its text is CONTRIBUTING.md, whose links start at the root


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Called by MkDocs with every page."""
    path = page.file.src_uri
    if path == FROM_ROOT:
        source = posixpath.join(posixpath.dirname(config.config_file_path), "CONTRIBUTING.md")
        try:
            with open(source, encoding="utf-8") as f:
                markdown = f.read()
        except OSError:
            return markdown
    markdown = markdown.replace(HELP, "\n".join(_help()))
    parts = re.split(r"(```.*?```)", markdown, flags=re.S)  # blocks of code stay as they are
    start = "" if path == FROM_ROOT else "docs"
    parts[::2] = [LINK.sub(lambda m: _link(m, start, config.repo_url), p) for p in parts[::2]]
    return "".join(parts)


def _link(match: re.Match[str], start: str, repo_url: str | None) -> str:
    picture, text, target = match.groups()
    if re.match(r"[a-z]+:|#", target):
        return match[0]
    path = posixpath.normpath(posixpath.join(start, target))
    if path.startswith("docs/"):
        return f"{picture}[{text}]({path.removeprefix('docs/')})"
    if path.split("#")[0] == "CONTRIBUTING.md":
        return f"[{text}]({FROM_ROOT})"
    return f"[{text}]({repo_url.rstrip('/')}/blob/main/{path})" if repo_url else text


def _help() -> Iterator[str]:
    """The help of every command as Markdown."""
    group = click.Context(program, info_name="stylegan")
    for name in COMMANDS:
        command = program.get_command(group, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=group, max_content_width=90)
        context.terminal_width = 90
        yield f"\n## {name}\n\n```text\n{command.get_help(context)}\n```"
