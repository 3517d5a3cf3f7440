# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and checks of paths."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from stylegan.cli.translate import translate
from stylegan.cli.values import Pair
from stylegan.errors import UserError


class Command(click.Command):
    """A command that knows options of other programs, and refuses an option given twice, unless
    its values add up.

    Click itself would take the last one and drop the others.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse. Raises: click.UsageError for a repeated option or one that only another program
        has, besides click's own errors."""
        args = translate(self, args, ctx.resilient_parsing)
        order = self.make_parser(ctx).parse_args(args=list(args))[2]
        for option in dict.fromkeys(order):
            count = order.count(option)
            if count > 1 and isinstance(option, click.Option) and not _may_repeat(option):
                name = "/".join([*option.opts, *option.secondary_opts])
                raise click.UsageError(f"{name}: given {count} times; give it once", ctx)
        return super().parse_args(ctx, args)


def _may_repeat(option: click.Option) -> bool:
    """Whether the values add up, or are always the same."""
    return option.multiple or option.count or (option.is_flag and not option.secondary_opts)


def joined(ctx: click.Context, param: click.Parameter, value: Sequence[list]) -> list | None:
    """Option callback: the lists of an option given several times as one; None without any."""
    return [item for part in value for item in part] if value else None


def refuse_beside(ctx: click.Context, option: str, names: Sequence[str]) -> None:
    """Refuse options that have no effect beside another one.

    Args: names: of parameters.
    Raises: click.UsageError if one of them was given.
    """
    for parameter in ctx.command.params:
        given = ctx.get_parameter_source(parameter.name or "") is not ParameterSource.DEFAULT
        if parameter.name in names and given:
            raise click.UsageError(f"{parameter.opts[0]} does not go with {option}")


def make_folder(path: str | Path, option: str) -> Path:
    """Make a folder for output. Raises: click.BadParameter that names the option."""
    _refuse_address(path, option)
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise _no_folder(path, option, e) from e
    if not os.access(Path(path), os.W_OK | os.X_OK):
        reason = f"the folder {path} cannot be written (Permission denied)"
        raise click.BadParameter(reason, param_hint=option)
    return Path(path)


def check_folder(path: str | Path, option: str) -> None:
    """Whether a folder can be made, without making it. Raises: click.BadParameter as
    `make_folder`."""
    _refuse_address(path, option)
    there = Path(path).absolute()
    while not os.path.lexists(there):
        there = there.parent
    code = 0 if os.access(there, os.W_OK | os.X_OK) else errno.EACCES
    code = code if there.is_dir() else errno.EEXIST
    if code:
        raise _no_folder(path, option, OSError(code, os.strerror(code)))


def here(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Option callback: refuses an address as a folder of output."""
    if value is not None and not ctx.resilient_parsing:
        _refuse_address(value, param.opts[0])
    return value


def _refuse_address(path: str | Path, option: str) -> None:
    from stylegan.identify import is_address, shown_address

    if is_address(path):
        name = shown_address(path)
        reason = f"{name} is an address; write to a folder of this machine, then upload it"
        raise click.BadParameter(reason, param_hint=option)


def _no_folder(path: str | Path, option: str, error: OSError) -> click.BadParameter:
    files = (errno.EEXIST, errno.ENOTDIR)
    why = "a file has that name" if error.errno in files else error.strerror
    reason = f"cannot make the folder {path} ({why})"
    if Path(path).is_dir():
        reason = f"the folder {path} cannot be written ({why})"
    return click.BadParameter(reason, param_hint=option)


def use_settings_of(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Option callback: state dicts that the command opens have the settings of a network."""
    if value is not None and not ctx.resilient_parsing:
        from stylegan.checkpoints.state_dict.like import settings_like
        from stylegan.identify import refuse_address
        from stylegan.networks import load_networks

        refuse_address(value)
        ctx.with_resource(settings_like(lambda: load_networks(value, "cpu").config))
    return value


def check_network(path: str) -> None:
    """Refuse a path without a network before anything imports torch. Raises: UserError, the same
    as `load_networks`."""
    if not Path(path).is_file():
        from stylegan.snapshots import find_snapshot

        find_snapshot(path)


def check_sources(paths: Sequence[str]) -> None:
    """Refuse networks or data sets that do not exist before anything imports torch. Raises:
    UserError."""
    from stylegan.data.source import is_embedded
    from stylegan.identify import is_address

    for path in paths:
        if not (Path(path).suffix or os.path.exists(path) or is_address(path) or is_embedded(path)):
            raise UserError(path, "there is no such folder or file; check the path")


LIKE_HELP = (
    "Network with the settings of a state dict, which is a file of weights alone.  [default: from "
    "the shapes of its tensors]"
)
like_option = click.option(
    "--like",
    metavar="NETWORK",
    type=click.Path(),
    expose_value=False,
    callback=use_settings_of,
    help=LIKE_HELP,
)


def network_argument(function: Callable) -> Callable:
    """The positional NETWORK, and --like for it, the last option in help."""

    @functools.wraps(function)
    def checked(*args: Any, network: str, **options: Any) -> Any:
        check_network(network)
        return function(*args, network=network, **options)

    argument = click.argument("network", metavar="NETWORK", type=click.Path())
    made = like_option(argument(checked))
    parameters = made.__click_params__  # type: ignore[attr-defined]
    parameters.insert(0, parameters.pop())
    return made


range_option = click.option(
    "--range",
    "value_range",
    type=Pair("0,4095"),
    metavar="LOW,HIGH",
    help="Values of black and white in images of more than 8 bits: 0,4095.  [default: chosen from "
    "the images]",
)

device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."
)
