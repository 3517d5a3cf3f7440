# SPDX-License-Identifier: Apache-2.0
"""What the README tells a reader to type exists."""

import re
import shlex
from pathlib import Path

import click
import pytest
from support.benchmarks import load_script

import stylegan
from stylegan.cli.main import program

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)
SHELL = [
    line.split("#")[0].strip()
    for kind, text in BLOCKS
    if kind == "sh"
    for line in text.splitlines()
]
COMMANDS = [part.strip() for line in SHELL if line for part in line.split("&&")]


def test_there_is_something_to_check():
    assert sum(c.startswith("stylegan ") for c in COMMANDS) >= 4
    assert sum(kind == "python" for kind, _ in BLOCKS) >= 1


@pytest.mark.parametrize("text", COMMANDS)
def test_commands_parse(text):
    word, *args = shlex.split(text)
    if word == "stylegan":
        command = program.get_command(click.Context(program), args[0])
        assert command is not None, f"stylegan has no command {args[0]}"
        command.make_context(args[0], args[1:]).close()
    elif word == "python":
        script = ROOT / args[0]
        assert script.is_file(), f"{args[0]} does not exist"
        load_script(script).main.make_context(script.stem, args[1:]).close()
    else:
        assert word in ("pip", "pytest", "git", "cd", "source"), f"unknown command {word}"


def test_a_wrong_command_would_be_found():
    with pytest.raises(click.UsageError):
        test_commands_parse("stylegan train --colour red")
    with pytest.raises(AssertionError):
        test_commands_parse("python benchmarks/nothing.py")


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "python"])
def test_python_compiles(text):
    """It compiles, and what it takes from the package is there."""
    compile(text, "README.md", "exec")
    used = set(re.findall(r"\bstylegan\.(\w+)", text))
    assert used and all(hasattr(stylegan, name) for name in used)


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_and_pictures_exist(target):
    assert target.startswith("https://") or (ROOT / target).exists(), target
