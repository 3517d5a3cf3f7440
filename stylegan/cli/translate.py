# SPDX-License-Identifier: Apache-2.0
"""Command lines of other StyleGAN programs, in the words of this one."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import click

from stylegan.cli.foreign import COMMANDS, OPTIONS, Foreign

FIRST = ("NETWORK", "SOURCE", "IN")  # positional arguments; DEST and OUT come last
BOOLEANS = {
    **dict.fromkeys(("1", "true", "yes", "on"), "1"),
    **dict.fromkeys(("0", "false", "no", "off"), "0"),
}


@dataclass
class Word:
    """An option with its value, or anything else on a command line."""

    tokens: list[str]  # as they were given
    name: str | None = None  # as a table knows it; None: no option, or an unknown one
    value: str | None = None  # of an option


def translate(command: click.Command, args: Sequence[str], quiet: bool = False) -> list[str]:
    """The arguments of a command with options of other programs replaced by ours, and flags such
    as --mirror=1 by --mirror.

    Args: quiet: leave options alone that only have a hint (the shell completes a command line).
    Raises: click.UsageError with the hints for options that have none of the same meaning.
    """
    line, name = _Line(command), command.name or ""
    words = line.read(args)
    values = {word.name: word.value for word in words if word.name and word.value is not None}
    first: list[str] = []  # arguments that have a name there
    out: list[str] = []
    last: list[str] = []
    hints: list[str] = []
    for word in words:
        foreign = line.table.get(word.name or "")
        hint = _hint_by_value(foreign, word) if foreign else None
        tokens = _meaning(foreign, word) if foreign else None
        if foreign and hint:
            hints.append(f"{' '.join(word.tokens)}: {_filled(hint, word, values, name)}")
        elif foreign and foreign.same.isupper():
            (first if foreign.same in FIRST else last).append(word.value or "")
        elif tokens is not None:
            out += tokens
        elif foreign and word.name not in line.own:
            hints.append(f"{' '.join(word.tokens)}: {_hint(foreign, word, values, name)}")
        else:
            out += line.ours(word)
    if hints and not quiet:
        raise click.UsageError("; ".join(hints), click.get_current_context(silent=True))
    return [*first, *out, *last]


def options_of(command: click.Command) -> set[str]:
    """The options of a command, those of other programs included."""
    line = _Line(command)
    return {*line.own, *line.table}


def no_such_option(
    option: str, command: click.Command, others: Iterable[click.Command] = ()
) -> str | None:
    """The line for an option that does not exist, with the one that was meant; None if nothing is
    near. Args: others: commands that may have it."""
    said = f"No such option {option!r}"
    line = _Line(command)
    if near := _near(option, line.own):
        return f"{said}; did you mean {near}?"
    for other in others:
        if option in _Line(other).own:
            return f"{said}; stylegan {other.name} has it"
    if near := _near(option, line.table):
        return f"{said}; did you mean {near}?"
    return None


def no_such_command(name: str, commands: Iterable[str]) -> str:
    """The line for a command that does not exist, with the one that was meant, if it is clear."""
    plain = re.sub(r"\.py$", "", name.lower()).replace("-", "_")
    said = f"No such command {name!r}"
    if plain in COMMANDS:
        return f"{said}; {COMMANDS[plain]}"
    known = {command.replace("-", "_"): command for command in commands}
    starting = [known[k] for k in known if len(plain) > 1 and k.startswith(plain)]
    near = starting or [known[k] for k in difflib.get_close_matches(plain, known, 1, 0.7)]
    near = [known[plain]] if plain in known else near
    if near:
        return f"{said}; did you mean stylegan {near[0]}?"
    others = difflib.get_close_matches(plain, COMMANDS, 1, 0.75)
    if others:
        return f"{said}; {COMMANDS[others[0]]}"
    return f"{said}; stylegan --help shows what there is"


def _near(option: str, known: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(option.strip("-"), [k.strip("-") for k in known], 1, 0.7)
    return f"--{near[0]}" if near else None


class _Line:
    """Reads command lines of a command."""

    def __init__(self, command: click.Command) -> None:
        self.table = OPTIONS.get(command.name or "", {})
        self.own: dict[str, click.Option] = {}
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                self.own |= dict.fromkeys([*parameter.opts, *parameter.secondary_opts], parameter)
        self.arguments = sum(isinstance(p, click.Argument) for p in command.params)

    def read(self, args: Sequence[str]) -> list[Word]:
        """The words of a command line."""
        left, words = list(args), list[Word]()
        while left:
            token = left.pop(0)
            if token == "--":
                return [*words, Word([token, *left])]
            name, equals, value = token.partition("=")
            name = self._known(name)
            if not name:
                words.append(Word([token]))
            elif equals:
                words.append(Word([token], name, value))
            elif left and self._takes(name, left[0]):
                words.append(Word([token, left[0]], name, left.pop(0)))
            else:
                words.append(Word([token], name))
        return words

    def ours(self, word: Word) -> list[str]:
        """The tokens of a word that is not of another program."""
        option = self.own.get(word.name or "")
        if option is None or word.name is None:
            return word.tokens
        if word.value is None:
            return [word.name]
        if not option.is_flag:
            equals = len(word.tokens) == 1
            return [f"{word.name}={word.value}"] if equals else [word.name, word.value]
        on = BOOLEANS.get(word.value.lower())
        if on is None:
            return word.tokens  # click says that it takes no value
        if on == "1":
            return [word.name]
        others = option.opts if word.name in option.secondary_opts else option.secondary_opts
        return others[:1]

    def _known(self, name: str) -> str:
        """An option as the tables have it, which may be written with underscores; else ""."""
        if not name.startswith("-"):
            return ""
        spellings = (name, re.sub("(?<=[^-])_", "-", name))
        return next((s for s in spellings if s in self.own or s in self.table), "")

    def _takes(self, name: str, following: str) -> bool:
        """Whether the next token is the value of an option."""
        option = self.own.get(name)
        if option is not None and not option.is_flag:
            return True
        if option is not None or self.table[name].flag:
            # A second path, such as DEST, may be called 1 and not exist yet.
            free = not self.arguments or self.arguments == 1 and not os.path.exists(following)
            return free and following.lower() in BOOLEANS
        return not re.match(r"-(?!\.?\d)", following)


def _value(foreign: Foreign, word: Word) -> str:
    """The value of a word; that of a flag is 1 or 0."""
    if foreign.flag:
        value = "1" if word.value is None else word.value
        return BOOLEANS.get(value.lower(), value)
    return word.value or ""


def _meaning(foreign: Foreign, word: Word) -> list[str] | None:
    """Our tokens with the meaning of a word of another program; None if there are none."""
    value = _value(foreign, word)
    for pattern, options in foreign.means.items():
        if re.fullmatch(pattern, value, re.I):
            return options.split()
    if foreign.same:
        return [foreign.same, *([] if word.value is None else [word.value])]
    return None


def _hint_by_value(foreign: Foreign, word: Word) -> str | None:
    value = _value(foreign, word)
    found = (hint for pattern, hint in foreign.hints.items() if re.fullmatch(pattern, value, re.I))
    return None if os.path.isdir(value) else next(found, None)


def _hint(foreign: Foreign, word: Word, values: Mapping[str, str], command: str) -> str:
    """The only hint of an option, with its numbers."""
    number = _number(word.value)
    if number is not None:
        for names, default in foreign.times.items():
            given = [_number(values.get(name)) for name in names.split("|")]
            number *= next((n for n in given if n is not None), default)
        number = number * foreign.factor + foreign.plus
    text = "..." if number is None else f"{number:.10g}"
    return _filled(foreign.hint.replace("{n}", text), word, values, command)


def _filled(hint: str, word: Word, values: Mapping[str, str], command: str) -> str:
    """A hint with the value, those of other options, as {--height}, and the command."""
    value = word.value or "..."
    hint = hint.replace("{}", value).replace("{command}", command)
    return re.sub(r"\{(--[a-z-]+)\}", lambda match: values.get(match[1], value), hint)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
