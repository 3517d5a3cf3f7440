# SPDX-License-Identifier: Apache-2.0
"""Fields of the settings that say how the command line offers them and what values they take."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass
from typing import Annotated, Any, TypeVar

from stylegan.config.numbers import as_float, as_int, is_number
from stylegan.errors import UserError
from stylegan.words import shown

T = TypeVar("T")
Auto = Annotated[T, "None until Config.resolved, which gives it its automatic value"]

GROUPS = ("Data", "Model", "Training", "Output")  # of the options, as help shows them


@dataclass(frozen=True)
class Known:
    """What a default may depend on."""

    model: str
    height: int  # px
    width: int
    gpus: int
    batch: int
    batch_gpu: int | None  # as given
    mbstd_group: int | None
    blur_sigma: float
    init_from: bool  # whether the run starts with another network
    images: int | None  # in the data set; None: unknown

    @property
    def side(self) -> int:
        """Side in px of the square that has as many pixels."""
        return round((self.height * self.width) ** 0.5)


@dataclass(frozen=True)
class Automatic:
    """The default of a field that is None: it follows from other settings.

    Args:
        text: the formula, for help.
        value: the formula; None if the text only explains what the data decides.
    """

    text: str
    value: Callable[[Known], Any] | None = None


@dataclass(frozen=True)
class Option:
    """What the command line knows of a field."""

    help: str
    group: str
    names: tuple[str, ...] = ()  # () is the field's name
    metavar: str | None = None
    choices: tuple[Any, ...] = ()
    above: float | None = None  # values must be larger than this,
    min: float | None = None  # at least this,
    max: float | None = None  # and at most this
    automatic: Automatic | None = None
    none: str | None = None  # what help says of None if it is the default
    none_is: str | int | None = None  # what stands for None on the command line

    @property
    def takes_none(self) -> bool:
        """Whether None is a value."""
        return self.automatic is not None or self.none is not None or self.none_is is not None

    def flags(self, dest: str) -> tuple[str, ...]:
        """The option as one types it, which sets `dest` (see `Config.with_fields`)."""
        return self.names or ("--" + dest.replace("_", "-"),)

    def check(self, name: str, value: Any) -> None:
        """Raises: UserError that names the field if `value` is not allowed."""
        if value is None and self.takes_none:
            return
        if self.choices and value not in self.choices:
            allowed = ", ".join(map(str, self.choices))
            raise UserError(name, f"expected one of {allowed}, got {value!r}")
        if (self.above, self.min, self.max) == (None, None, None):
            return
        if not is_number(value):
            raise UserError(name, f"expected a number, got {value!r}")
        if self.above is not None and not value > self.above:
            raise UserError(name, f"expected a number above {self.above:g}, got {value}")
        if self.max is not None and not (self.min or 0) <= value <= self.max:
            raise UserError(name, f"expected {self.min or 0:g} to {self.max:g}, got {value}")
        if self.min is not None and not value >= self.min:
            raise UserError(name, f"expected {self.min:g} or more, got {value}")


def option(default: Any, help: str, group: str, **more: Any) -> Any:
    """A dataclass field with an `Option`; `more` are fields of that."""
    assert group in GROUPS
    return dataclasses.field(default=default, metadata={"option": Option(help, group, **more)})


def like(settings: type, name: str, default: Any = MISSING, **changes: Any) -> Any:
    """A field that means the same as the field `name` of other settings.

    Args:
        default: its default, if that is another.
        changes: fields of its `Option` that are others.
    """
    (field,) = (f for f in dataclasses.fields(settings) if f.name == name)
    shown = dataclasses.replace(field.metadata["option"], **changes)
    return dataclasses.field(
        default=field.default if default is MISSING else default, metadata={"option": shown}
    )


def option_of(field: dataclasses.Field) -> Option | None:
    """The `Option` of a field; None if the command line does not offer it."""
    return field.metadata.get("option")


def check_options(settings: Any, names: Iterable[str] | None = None) -> None:
    """Raises: UserError if a field has a value that its option does not allow.

    Args: names: the fields to check; None: all.
    """
    for field in dataclasses.fields(settings):
        shown = option_of(field)
        if shown and (names is None or field.name in names):
            shown.check(field.name, getattr(settings, field.name))


def short_repr(settings: Any) -> str:
    """The repr of a dataclass of settings, without fields that have their defaults."""
    shown = []
    for field in dataclasses.fields(settings):
        value, default = getattr(settings, field.name), field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        if value != default:
            shown.append(f"{field.name}={value!r}")
    return f"{type(settings).__name__}({', '.join(shown)})"


def plain_numbers(settings: Any) -> None:
    """Replace numbers of NumPy and PyTorch in the fields by Python's, which JSON takes.

    Raises: UserError for a fraction, True or False in a field of integers, and for NaN.
    """
    for field in dataclasses.fields(settings):
        value, kind = getattr(settings, field.name), _KINDS.get(str(field.type))
        if value is None and str(field.type) in ("int", "float", "bool"):
            raise UserError(field.name, "expected a value, got None")
        if kind is None or value is None or isinstance(value, str):
            continue
        if type(value) is not kind or value != value:
            object.__setattr__(settings, field.name, _plain(field.name, value, kind))


def _plain(name: str, value: Any, kind: type) -> Any:
    if kind is bool:
        if "bool" not in str(getattr(value, "dtype", "")):
            raise UserError(name, f"expected True or False, got {shown(value)}")
        return bool(value)
    if kind is float and type(value) is int:
        return value
    try:
        return as_int(value) if kind is int else as_float(value)
    except (TypeError, ValueError) as e:
        expected = "an integer" if kind is int else "a finite number"
        raise UserError(name, f"expected {expected}, got {shown(value)}") from e


# By the type that a field is declared with.
_KINDS: dict[str, type] = {
    form.format(name): kind
    for name, kind in (("int", int), ("float", float), ("bool", bool))
    for form in ("{}", "Auto[{}]", "{} | None")
}


def automatic_values(settings: Any, known: Known) -> dict[str, Any]:
    """{field: value} of the fields that are None and follow from other settings."""
    values = {}
    for field in dataclasses.fields(settings):
        rule = (shown := option_of(field)) and shown.automatic
        if rule and rule.value and getattr(settings, field.name) is None:
            values[field.name] = rule.value(known)
    return values
