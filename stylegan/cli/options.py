# SPDX-License-Identifier: Apache-2.0
"""Command-line options made from the fields of the settings."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from stylegan.cli.params import NumberList, Size, finite
from stylegan.config import KINDS, PRESETS, Config
from stylegan.config.options import GROUPS, Option, option_of

DEFAULTS = PRESETS["auto"]  # whose values help shows; those of StyleGAN3 if they differ
STYLEGAN3 = {"-T": PRESETS["stylegan3-t"], "-R": PRESETS["stylegan3-r"]}


class GroupedCommand(click.Command):
    """A command that shows its options in `GROUPS`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None:
                rows[getattr(parameter, "group", GROUPS[-1])].append(row)
        for group, records in rows.items():
            with formatter.section(group):
                formatter.write_dl(records)


class GroupedOption(click.Option):
    """A click option in one of `GROUPS`."""

    def __init__(self, *args: Any, group: str = GROUPS[-1], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


@dataclass(frozen=True)
class Setting:
    """A field that the command line offers, as the option `dest`."""

    part: str  # of `Config`
    field: dataclasses.Field
    type: Any  # without None
    option: Option
    dest: str  # as `Config.with_fields` takes it
    hidden: bool = False  # from help

    @property
    def names(self) -> tuple[str, ...]:
        """The option as one types it."""
        return self.option.flags(self.dest)

    def convert(self, value: Any) -> Any:
        """The value of the field for that of the option."""
        if self.option.none_is is not None and value == self.option.none_is:
            return None
        if self.option.choices:
            return next(c for c in self.option.choices if str(c) == value)
        return value


def settings() -> list[Setting]:
    """Every field that the command line offers, in the order of help.

    A setting of G and D is one option for both, and one for each that help does not list.
    """
    found: dict[str, Setting] = {}
    for part in ("data", "G", "D", "train"):
        for kind in KINDS[part]:
            hints = typing.get_type_hints(kind)
            for field in dataclasses.fields(kind):
                shown = option_of(field)
                if shown is None:
                    continue
                dest = field.name
                if part in "GD" and shown.names:
                    dest = f"{part.lower()}_{field.name}"
                made = Setting(part, field, _without_none(hints[field.name]), shown, dest)
                if part == "D" and dest in found:
                    for one in "GD":
                        name = f"{one.lower()}_{dest}"
                        found[name] = dataclasses.replace(made, part=one, dest=name, hidden=True)
                found.setdefault(dest, made)
    return list(found.values())


def setting_options(function: Callable) -> Callable:
    """Add an option for every field of the settings. They are None unless they are given."""
    for setting in reversed(settings()):
        function = _click_option(setting)(function)
    return function


def given_settings(options: dict[str, Any]) -> dict[str, Any]:
    """{setting: value} of the options that were given, for `Config.with_fields`."""
    return {
        setting.dest: setting.convert(options[setting.dest])
        for setting in settings()
        if options[setting.dest] is not None
    }


def _click_option(setting: Setting) -> Callable:
    names = list(setting.names)
    if setting.type is bool:
        names = [f"{names[0]}/--no-{names[0][2:]}"]
    default = _default(setting)
    return click.option(
        *names,
        setting.dest,
        cls=GroupedOption,
        group=setting.option.group,
        type=_click_type(setting),
        default=None,
        metavar=setting.option.metavar,
        hidden=setting.hidden,
        callback=finite if setting.type is float else None,
        help=setting.option.help + (f"  [default: {default}]" if default else ""),
    )


def _click_type(setting: Setting) -> Any:
    o = setting.option
    if o.choices:
        first = [] if o.none_is is None else [o.none_is]
        return click.Choice([*first, *map(str, o.choices)])
    if setting.type is bool:
        return None
    if setting.type in (int, float):
        low = o.min if o.above is None else o.above
        exclusive = o.above is not None and o.none_is is None
        if setting.type is float:
            return click.FloatRange(min=low, max=o.max, min_open=exclusive)
        return click.IntRange(
            min=None if low is None else int(low) + exclusive,
            max=None if o.max is None else int(o.max),
        )
    if setting.type is str:
        return click.Path()
    return Size() if setting.type == tuple[int, int] else NumberList()


def _default(setting: Setting) -> str:
    """What help says of the default, which may be another in StyleGAN3."""
    of_2 = _value_text(setting, DEFAULTS) if _has(setting, DEFAULTS) else None
    parts = [] if of_2 is None else [of_2]
    if _has(setting, STYLEGAN3["-T"]):
        of_3 = {kind: _value_text(setting, config) for kind, config in STYLEGAN3.items()}
        others = {kind: text for kind, text in of_3.items() if text != of_2}
        if others and set(of_3.values()) == {of_3["-T"]}:
            parts.append(f"StyleGAN3: {of_3['-T']}")
        elif others:
            texts = (f"{kind}: {text}" for kind, text in others.items())
            parts.append("StyleGAN3" + ", ".join(texts))
    return "; ".join(filter(None, parts))


def _has(setting: Setting, config: Config) -> bool:
    return hasattr(getattr(config, setting.part), setting.field.name)


def _value_text(setting: Setting, config: Config) -> str:
    value = getattr(getattr(config, setting.part), setting.field.name)
    o = setting.option
    if value is None:
        return o.automatic.text if o.automatic else o.none or ""
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _without_none(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    return hint
