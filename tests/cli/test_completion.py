# SPDX-License-Identifier: Apache-2.0
"""Completion of command lines by the shell, and the list of commands."""

import click
import click.testing
import pytest
from click.shell_completion import ShellComplete

from stylegan.cli.main import COMMANDS, program


def completions(line):
    """{value: type} of what the shell offers for the last word of a line."""
    *words, last = line.split(" ")
    complete = ShellComplete(program, {}, "stylegan", "_STYLEGAN_COMPLETE")
    return {item.value: item.type for item in complete.get_completions(words, last)}


def test_commands_and_options():
    assert list(completions("")) == list(COMMANDS)
    assert list(completions("ge")) == ["generate"]
    assert "--trunc" in completions("generate runs --tr")
    assert "stylegan3-t" in completions("train --cfg sty")


@pytest.mark.parametrize(
    "line",
    [
        *("generate r", "mix r", "video r", "metrics r", "info r", "spectra a b", "runs r"),
        *("convert a", "convert a b", "dataset a", "dataset a b", "generate r --like b"),
        *("train --data p", "train --init-from p", "train --resume p", "train --like p"),
        *("generate r --outdir o", "generate r --latents a", "video r --keyframes a"),
        *("mix r --row-latents a", "generate r --save-ws a", "video r --out a"),
        *("spectra a --out b", "info a --sheet b", "metrics r --json a"),
    ],
)
def test_file_names(line):
    kinds = set(completions(line).values())
    assert kinds <= {"file", "dir"} and kinds, line


def test_every_command_fits_in_the_list():
    listed = click.testing.CliRunner().invoke(program, []).stdout
    for name in COMMANDS:
        command = program.get_command(click.Context(program), name)
        assert f"  {command.short_help}\n" in listed, name  # not cut with "..."
