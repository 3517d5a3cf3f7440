# SPDX-License-Identifier: Apache-2.0
"""Options of `stylegan train` and fields of the settings are the same thing."""

import dataclasses
import re
import subprocess
import sys

import pytest

from stylegan import UserError, preset
from stylegan.cli import train
from stylegan.cli.options import given_settings, settings
from stylegan.config import KINDS, owners
from stylegan.config.options import GROUPS, option_of
from stylegan.training.plan import with_settings

OTHER = {"preset_name", "outdir", "resume", "device", "dry_run", "like"}
OF_THE_DATA = {"resolution", "channels", "c_dim"}  # settings of networks that follow from it
FLOATS = [s for s in settings() if s.type is float]
VALUES = {
    "zip_encoding": "gbk",
    "widths": "8,8,4",
    "resample_filter": "1,2.5,1",
    "path": "a.zip",
    "init_from": "b",
}


def value_of(setting):
    """(text for the command line, value of the field), another than any default."""
    o = setting.option
    if setting.field.name in VALUES:
        text = VALUES[setting.field.name]
        numbers = (
            tuple(float(n) if "." in n else int(n) for n in text.split(","))
            if "," in text
            else text
        )
        return [text], numbers
    if o.choices:
        value = o.choices[-1] if setting.field.default != o.choices[-1] else o.choices[0]
        return [str(value)], value
    if setting.type is bool:
        return [], not setting.field.default
    if setting.type is int:
        return ["13"], 13
    if setting.type is float:
        return ["0.75"], 0.75
    if setting.type == tuple[float, float]:
        return ["-5,4095"], (-5.0, 4095.0)
    if setting.dest == "diff_policy":
        return ["cutout"], "cutout"
    return ["24x16"], (16, 24)


def config_of(name, *args):
    ctx = train.command.make_context("train", list(args))
    options = {k: v for k, v in ctx.params.items() if k not in OTHER}
    return with_settings(preset(name), given_settings(options))


@pytest.mark.parametrize("setting", [pytest.param(s, id=s.dest) for s in settings()])
def test_every_option_sets_its_field(setting):
    text, value = value_of(setting)
    stylegan3 = setting.part == "G" and not hasattr(preset("auto").G, setting.field.name)
    name = "stylegan3-t" if stylegan3 else "auto"
    option = setting.names[-1]
    if setting.type is bool and not value:
        option = "--no-" + option[2:]
    config = config_of(name, option, *text)
    parts = {p for p, _ in owners(setting.dest)} or {setting.part}
    if setting.dest in ("resolution", "channels"):
        parts = {"data"}
    assert setting.part in parts
    for part in parts:
        assert getattr(getattr(config, part), setting.field.name) == value
    for part in {"G", "D", "train", "data"} - parts:
        assert getattr(config, part) == getattr(preset(name), part)


def test_every_field_has_an_option():
    reached = {pair for s in settings() for pair in owners(s.dest)}
    for part, kinds in KINDS.items():
        for kind in kinds:
            for field in dataclasses.fields(kind):
                if part in "GD" and field.name in OF_THE_DATA or field.name == "model":
                    assert option_of(field) is None
                elif part == "data":
                    assert option_of(field)
                else:
                    assert (part, field.name) in reached and option_of(field)


def test_every_option_is_a_setting():
    names = {s.dest for s in settings()}
    assert {p.name for p in train.command.params} == names | OTHER
    assert all(p.help for p in train.command.params)


@pytest.mark.parametrize(
    "option, name", [("minutes", "minutes"), ("keep", "keep"), ("conv-clamp", "conv_clamp")]
)
def test_zero_is_none(option, name):
    config = config_of("demo64", f"--{option}", "0")
    part = config.G if name == "conv_clamp" else config.train
    assert getattr(part, name) is None


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("setting", FLOATS, ids=lambda s: s.dest)
def test_numbers_that_are_not_finite(run, setting, value):
    code, _, err = run("train", f"{setting.names[0]}={value}", "--dry-run")
    assert code == 2 and setting.names[0] in err and err.count("\n") == 1, err


@pytest.mark.parametrize(
    "text, numbers",
    [("1,3,3,1", (1, 3, 3, 1)), ("1e-1,1", (0.1, 1)), ("-0.5, 2", (-0.5, 2)), ("4", (4,))],
)
def test_lists_of_numbers(text, numbers):
    value = config_of("auto", "--resample-filter", text).G.resample_filter
    assert value == numbers and list(map(type, value)) == list(map(type, numbers))


@pytest.mark.parametrize("text", ["1,x", "1,,2", "", "1,nan", "inf", "1e999", "9" * 5000])
def test_lists_of_something_else(run, text):
    code, _, err = run("train", "--resample-filter", text, "--dry-run")
    assert code == 2 and "expected numbers like 1,3,3,1, got" in err and err.count("\n") == 1


def test_an_option_of_another_model():
    with pytest.raises(UserError, match="num_layers: stylegan2 has no such setting"):
        config_of("auto", "--num-layers", "4")


def test_help_groups_options_and_shows_defaults(run):
    code, out, _ = run("train", "--help")
    groups = re.findall(r"^(\w+):$", out, re.M)
    assert code == 0 and groups == list(GROUPS)
    text = " ".join(out.split())
    for part in (
        "[default: by resolution: 0.0002 * height * width / batch; StyleGAN3: 0.001",
        "[default: by resolution: 32768 from 512 px on, else 16384]",
        "[default: 2; StyleGAN3: 0]",
        "[default: 0; StyleGAN3-R: 10]",
        "[default: StyleGAN3-T: 3, -R: 1]",
        "[default: 15]",
        "[default: auto; demo without --data]",
        "An option that both networks have, such as --channel-max, sets G and D alike.",
    ):
        assert part in text
    assert "--g-channel-max INTEGER" not in text


def test_help_does_not_import_torch():
    code = "import sys; from stylegan.cli.main import program\n"
    code += "try: program(['train', '--help'])\n"
    code += "except SystemExit: pass\n"
    code += "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("name", ["generate", "mix", "video"])
def test_help_of_what_generates(run, name):
    code, out, _ = run(name, "--help")
    text = " ".join(out.split())
    noise = "the network's own or none" if name == "video" else "the network's own, fresh or none"
    for part in (
        "Truncation psi: 1 as trained, less for fewer odd images, 0 for the average image.",
        "Class of a conditional network.",
        f"Fine random detail: {noise}. StyleGAN3 has none.",
    ):
        assert code == 0 and text.count(part) == 1
