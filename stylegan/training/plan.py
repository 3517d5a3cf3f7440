# SPDX-License-Identifier: Apache-2.0
"""What a run trains, and which run or snapshot it continues, from what its user asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

import stylegan_ops
from stylegan.config import Config, preset
from stylegan.data.dataset import ImageDataset
from stylegan.data.source import DEFAULT_DEMO, is_embedded
from stylegan.device import resolve_device
from stylegan.errors import UserError
from stylegan.networks import load_networks
from stylegan.runs.resume import difference_table, differences, find_run, kimg_of, saved_config
from stylegan.training.augment.choice import with_implied
from stylegan.training.setup import fit_to_data, fitted, open_data
from stylegan.training.transfer.judgement import options_of
from stylegan.training.transfer.settings import (
    preset_for,
    structural_differences,
    with_structure_of,
)
from stylegan.words import short


@dataclass(frozen=True)
class Request:
    """What the user of a run asked for.

    Args:
        fields: {setting: value} of the settings that were given, as `Config.with_fields` takes
            them. Those of the data belong to the data: resolution is the size of its images.
        preset: a name; None: the demo without a data set, else auto.
        resume: a run or a snapshot to continue; "auto": the newest run in `outdir` with these
            settings, or a new one; None: a new one.
        outdir: the folder of the runs.
        device: as `resolve_device` takes it.
    """

    fields: Mapping[str, Any]
    preset: str | None = None
    resume: str | None = None
    outdir: str = "runs"
    device: str | torch.device = "auto"


@dataclass(frozen=True)
class Plan:
    """What to train, and what to continue."""

    config: Config
    dataset: ImageDataset
    device: torch.device
    wanted: Request
    run_dir: Path | None = None  # None: a new one
    snapshot: Path | None = None  # None: the newest of the run, if there is one
    finished: bool = False  # the run that it continues is at its end


class OtherSettings(UserError):
    """A run to resume has other settings; `table` has lines on the differences."""

    def __init__(self, subject: object, why: str, table: tuple[str, ...] = ()) -> None:
        super().__init__(subject, why)
        self.table = table


def make_plan(wanted: Request, say: Callable[[str], None]) -> Plan:
    """Open the images and decide on all settings.

    Args: say: called with lines on what was decided.
    Raises: UserError; OtherSettings if the run to resume has others.
    """
    stylegan_ops.tune_cpu_allocator()
    device = resolve_device(wanted.device)
    options = with_implied(dict(wanted.fields))
    for name in ("path", "init_from"):  # a run may be resumed from another folder
        if os.path.exists(options.get(name) or ""):
            options[name] = os.path.abspath(options[name])
    if wanted.resume not in (None, "auto"):
        return _continued(wanted, device, options)
    if "kimg" in options:  # a given length lifts the demo's time limit
        options.setdefault("minutes", None)
    start = preset(preset_of(wanted, device))
    if not _is_demo(options.get("path")):  # the demo's labels are those of its images
        start = replace(start, data=replace(start.data, cond=False))
    config = with_settings(start, options)
    dataset = open_data(config)
    if config.train.init_from:
        config = _like_source(config, dataset, options, wanted.preset, say)
    config = fitted(config, dataset)
    plan = Plan(config, dataset, device, wanted)
    return plan if wanted.resume is None else _with_run(plan, say)


def _with_run(plan: Plan, say: Callable[[str], None]) -> Plan:
    """The plan with the run that `--resume auto` continues."""
    found = find_run(plan.wanted.outdir, plan.config)
    if found.newest:
        say(f"resume auto: no run in {plan.wanted.outdir} has these settings, so a new one begins;")
        say("\n".join([*difference_table(found.newest, found.differences), ""]))
    finished = bool(found.run_dir) and kimg_of(found.run_dir or "") >= plan.config.train.kimg
    return replace(plan, run_dir=found.run_dir, finished=finished)


def _continued(wanted: Request, device: torch.device, options: dict[str, Any]) -> Plan:
    """How to continue the run or snapshot that is named."""
    resume = wanted.resume or ""
    if wanted.preset or "init_from" in options:
        given = "preset" if wanted.preset else "init_from"
        raise UserError(given, "does not go with resume, which keeps the run's settings")
    saved = saved_config(resume)
    config, dataset = fit_to_data(with_settings(saved.config, options))
    rows = differences(saved.config, config)
    if rows:
        raise OtherSettings(
            resume,
            "is a run with other settings (above); leave the options out to continue it, or start "
            "a new run from its networks with --init-from",
            tuple(difference_table(resume, rows)),
        )
    if saved.kimg >= config.train.kimg:
        raise UserError(
            resume,
            f"is at {short(saved.kimg)} kimg and ends at {short(config.train.kimg)}; --kimg with a "
            "larger number continues it",
        )
    return Plan(config, dataset, device, wanted, saved.run_dir, saved.snapshot)


def _is_demo(path: str | None) -> bool:
    """Whether the images are those of the demo."""
    return path is None or (path == DEFAULT_DEMO and is_embedded(path))


def preset_of(wanted: Request, device: torch.device) -> str:
    """The preset that a new run starts from."""
    name = wanted.preset or ("demo" if wanted.fields.get("path") is None else "auto")
    return "demo64" if name == "demo" and device.type != "cpu" else name


def _like_source(
    config: Config,
    dataset: ImageDataset,
    options: dict[str, Any],
    preset_name: str | None,
    say: Callable[[str], None],
) -> Config:
    """`config` with the structure of the network that it starts with, except for what `options`
    say. A preset of another model stays as it is."""
    source = load_networks(config.train.init_from or "", "cpu").config
    if preset_for(source) != preset_for(config):
        if preset_name:
            return config
        config = with_settings(preset(preset_for(source)), options)
    before, config = config, with_structure_of(config, source, dataset.resolution)
    if rows := structural_differences(config, before):
        say(f"structure of {config.train.init_from}: {options_of(rows)}")
    return with_settings(config, options)


def with_settings(config: Config, options: dict[str, Any]) -> Config:
    """`config` with the settings of a user, as `Request.fields`."""
    names = {field.name for field in fields(config.data)}
    data = {name: value for name, value in options.items() if name in names}
    rest = {name: value for name, value in options.items() if name not in names}
    return replace(config, data=replace(config.data, **data)).with_fields(**rest)
