# SPDX-License-Identifier: Apache-2.0
"""Command-line options made from the fields of the settings.

They are made when a command is run or asked for its own help: the settings and their options take
10 ms, which `stylegan --help` does not need.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from stylegan.cli.params import Command
from stylegan.cli.values import NumberList, Pair, Size, finite

if TYPE_CHECKING:
    from stylegan.config import Config
    from stylegan.config.options import Option

DEFAULTS = "auto"  # the preset whose values help shows; those of StyleGAN3 if they differ
STYLEGAN3 = {"-T": "stylegan3-t", "-R": "stylegan3-r"}


class SettingsCommand(Command):
    """A command with `setting_options` before its own options, which help shows in groups."""

    _made: list[click.Parameter] | None = None

    @property
    def params(self) -> list[click.Parameter]:
        if self._made is None:
            self._made = [*setting_options(), *self._own]
        return self._made

    @params.setter
    def params(self, params: list[click.Parameter]) -> None:
        self._own = params

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from stylegan.config.options import GROUPS

        rows: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None:
                rows[getattr(parameter, "group", None) or GROUPS[-1]].append(row)
        for group, records in rows.items():
            with formatter.section(group):
                formatter.write_dl(records)


class GroupedOption(click.Option):
    """A click option in a group of the help, by default the last one."""

    def __init__(self, *args: Any, group: str | None = None, **kwargs: Any) -> None:
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
    from stylegan.config import KINDS
    from stylegan.config.options import option_of

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


def setting_options() -> list[click.Parameter]:
    """--preset, as `preset_name`, and an option for every field of the settings. They are None
    unless they are given."""
    from stylegan.config import PRESETS

    preset = GroupedOption(
        ["--preset", "--cfg", "preset_name"],
        group="Model",
        type=click.Choice(list(PRESETS)),
        help="Settings to start from, with their model: StyleGAN2, or StyleGAN3 (-t: details move "
        "with the picture; -r: turn with it too).  [default: auto; demo without --data]",
    )
    return [preset, *map(_click_option, settings())]


def given_settings(options: dict[str, Any]) -> dict[str, Any]:
    """{setting: value} of the options that were given, for `Config.with_fields`."""
    return {
        setting.dest: setting.convert(options[setting.dest])
        for setting in settings()
        if options[setting.dest] is not None
    }


def _click_option(setting: Setting) -> click.Option:
    names = list(setting.names)
    if setting.type is bool:
        names = [f"{names[0]}/--no-{names[0][2:]}"]
    default = _default(setting)
    return GroupedOption(
        [*names, setting.dest],
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
    if setting.type == tuple[float, float]:
        return Pair("0,4095")
    return Size() if setting.type == tuple[int, int] else NumberList()


def _default(setting: Setting) -> str:
    """What help says of the default, which may be another in StyleGAN3."""
    from stylegan.config import PRESETS

    defaults = PRESETS[DEFAULTS]
    of_2 = _value_text(setting, defaults) if _has(setting, defaults) else None
    parts = [] if of_2 is None else [of_2]
    if _has(setting, PRESETS[STYLEGAN3["-T"]]):
        of_3 = {kind: _value_text(setting, PRESETS[name]) for kind, name in STYLEGAN3.items()}
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
