# SPDX-License-Identifier: Apache-2.0
"""The `stylegan` command: finds the subcommand, and turns every error into one line and an exit
code."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import click

from stylegan.cli.translate import no_such_command, no_such_option, options_of
from stylegan.threads import tune_threads
from stylegan.words import one_line, printable

# Each is `command` in stylegan.cli.<name>.
COMMANDS = (
    "dataset",
    "train",
    "generate",
    "mix",
    "video",
    "metrics",
    "spectra",
    "info",
    "convert",
    "runs",
    "doctor",
)

# Variables of the environment and their values; the first is the default.
VARIABLES = {
    "STYLEGAN_OPS": ("auto", "native", "reference"),
    "STYLEGAN_OPS_PLAN": ("measure", "fixed"),
}


# Click's words, and common ones.
PLAIN = {
    "is not a valid float range.": "is not a number like 0.7",
    "is not a valid float.": "is not a number like 0.7",
    "is not a valid integer range.": "is not a whole number",
    "is not a valid integer.": "is not a whole number",
}
# Messages of Click that do not say what to do.
UNEXPLAINED = ("No such option", "Missing ", "unexpected extra argument")
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # of a disk, a file or a quota


class Program(click.Group):
    """Commands are imported when they are used. None imports torch before it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"stylegan.cli.{name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's. Raises: click.UsageError that names the command that was meant."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(no_such_command(args[0], COMMANDS), ctx)
        return super().resolve_command(ctx, args)

    def main(  # type: ignore[override]
        self, args: Any = None, prog_name: str | None = "stylegan", **extra: Any
    ) -> Any:
        """Run. Exits with 0, 1 (it failed), 2 (wrong input) or 130 (interrupted)."""
        tune_threads()  # before anything imports torch
        args = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in args  # at any position
        args = [a for a in args if a != "--debug"]
        try:
            with warnings.catch_warnings():
                if not debug:
                    warnings.showwarning = _notes(warnings.showwarning)
                super().main(args, prog_name, **{**extra, "standalone_mode": False})
            code = 0
        except BaseException as e:
            if debug and not isinstance(e, (click.exceptions.Exit, SystemExit)):
                raise
            code, message = _explain(e, args)
            if message:
                where = getattr(getattr(e, "ctx", None), "command_path", prog_name)
                click.echo(f"{where}: {message}", err=True)
        sys.exit(code)


def _notes(others: Callable[..., None]) -> Callable[..., None]:
    """What shows warnings: those for users in one line, once, without the place in the code.

    Args: others: shows the rest.
    """
    seen = set()

    def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        """As `warnings.showwarning`; the first of `where` is the file name."""
        line = printable(one_line(message))
        if not issubclass(category, UserWarning) and where[0] != "stylegan_ops":
            others(message, category, *where, **more)
        elif line not in seen:
            seen.add(line)
            click.echo(f"note: {line}", err=True)

    return show


def _explain(e: BaseException, args: list[str]) -> tuple[Any, str | None]:
    """(exit code, one line) for an exception of a command line."""
    from stylegan.errors import TrainingError, UserError

    if isinstance(e, SystemExit):
        return e.code, None
    if isinstance(e, click.exceptions.Exit):
        return e.exit_code, None
    if isinstance(e, (click.Abort, KeyboardInterrupt)):
        return 130, "interrupted"
    if isinstance(e, click.ClickException):
        return 2, printable(_usage(e))
    if isinstance(e, UserError):
        return 2, printable(one_line(e))
    if isinstance(e, BrokenPipeError):
        return 1, None
    if isinstance(e, TrainingError):
        return 1, printable(one_line(e))
    text = printable(one_line(e))
    if "out of memory" in text or "can't allocate memory" in text or isinstance(e, MemoryError):
        return 1, f"out of memory; {_less_memory(args)} ({text[:120]})"
    if isinstance(e, OSError):
        if e.errno in FULL:
            text = f"cannot be written ({e.strerror}); make space, or write to another disk"
            return 1, f"{e.filename}: {text}" if e.filename else text
        return 1, f"{e.filename}: {e.strerror}" if e.filename and e.strerror else text
    return 1, f"{type(e).__name__}: {text} (--debug shows where)"


def _usage(e: click.ClickException) -> str:
    """One line for a wrong command line, in common words, with what to do."""
    text = one_line(e.format_message())
    for words, plain in PLAIN.items():
        text = text.replace(words, plain)
    ctx = getattr(e, "ctx", None)
    if isinstance(e, click.NoSuchOption) and ctx:
        text = _no_such_option(e, ctx) or f"No such option {e.option_name!r}"
    if ctx is None or ";" in text or not any(words in text for words in UNEXPLAINED):
        return text
    if ctx.info_name == "train" and "extra argument" in text:
        return f"{text}; --data gives the images, as in stylegan train --data photos"
    return f"{text.rstrip('.')}; {ctx.command_path} --help shows what there is"


def _no_such_option(e: click.NoSuchOption, ctx: click.Context) -> str | None:
    """The line for an option that does not exist; None if no other is near."""
    found = (program.get_command(ctx, name) for name in ("train", "generate", *COMMANDS))
    commands = [command for command in found if command]
    if ctx.command is not program:
        return no_such_option(e.option_name, ctx.command, commands)
    for command in commands:
        option = e.option_name
        if option in options_of(command):
            return f"{option}; a command comes first, as in stylegan {command.name} {option}"
    return None


def _less_memory(args: list[str]) -> str:
    """How the command of a command line needs less memory."""
    name = next((arg for arg in args if not arg.startswith("-")), "")
    command = program.get_command(click.Context(program), name)
    options = options_of(command) if command else set()
    for name in ("--batch-gpu", "--batch"):
        if name in options:
            return f"{name} with a smaller number needs less"
    return "smaller images or fewer at once need less"


@click.group(
    "stylegan",
    cls=Program,
    invoke_without_command=True,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="stylegan")
@click.option(
    "--debug", is_flag=True, help="Show the traceback of an error. It may stand anywhere."
)
@click.pass_context
def program(ctx: click.Context, debug: bool) -> None:
    """StyleGAN: train on your images, generate, mix styles, make videos, measure.

    \b
    stylegan train                        the demo, no data needed
    stylegan train --data photos.zip      your images
    stylegan generate runs                pictures from the trained network
    """
    for variable, values in VARIABLES.items():
        value = os.environ.get(variable, values[0])
        if value not in values:
            raise click.UsageError(
                f"variable {variable}: expected {', '.join(values[:-1])} or {values[-1]}, "
                f"got {value!r}"
            )
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
