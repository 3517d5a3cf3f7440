# SPDX-License-Identifier: Apache-2.0
"""Command lines of other programs: all of the tables, option by option."""

import re
import subprocess
import sys

import click
import pytest
from support.native import ROOT

from stylegan.cli.foreign import COMMANDS as OTHER_COMMANDS
from stylegan.cli.foreign import OPTIONS
from stylegan.cli.main import COMMANDS, program
from stylegan.cli.translate import no_such_command, translate

CASES = [(command, option) for command, table in OPTIONS.items() for option in table]


def command_of(name):
    return program.get_command(click.Context(program), name)


def options(name):
    found = set()
    for parameter in command_of(name).params:
        found |= {*parameter.opts, *parameter.secondary_opts}
    return found


def translated(line):
    name, *args = line.split()
    return translate(command_of(name), args)


def hint(line):
    with pytest.raises(click.UsageError) as e:
        translated(line)
    return e.value.message


@pytest.mark.parametrize("command, option", CASES, ids=map("-".join, CASES))
def test_every_option_works_or_has_a_hint(command, option):
    foreign = OPTIONS[command][option]
    own = option in options(command)
    assert bool(foreign.same) + bool(foreign.hint) == 1 or own or foreign.flag and foreign.means
    assert not (foreign.same or foreign.hint) or not own
    used = {*re.findall("--[a-z][a-z0-9-]*", " ".join(foreign.means.values()))}
    if foreign.same and not foreign.same.isupper():
        used.add(foreign.same)
    assert used <= options(command)
    if foreign.same.isupper():
        arguments = [p for p in command_of(command).params if isinstance(p, click.Argument)]
        assert foreign.same in [p.metavar or p.name.upper() for p in arguments]
        assert translated(f"{command} {option} x") == ["x"]
    elif foreign.same:
        for line in (f"{option} 7", f"{option.replace('-', '_').replace('__', '--')} 7"):
            assert translated(f"{command} {line}") == [foreign.same, "7"]
        assert translated(f"{command} {option}=7") == [foreign.same, "7"]
    elif foreign.hint and "0|1" not in foreign.means:
        given = option if foreign.flag and not foreign.means.get("1") else f"{option} 1234"
        check_hint(command, given, hint(f"{command} {given}"))
    for pattern, text in foreign.hints.items():
        assert re.compile(pattern) and ";" not in text
        check_options(command, text)


def check_hint(command, given, line):
    assert line.startswith(f"{given}: ")
    text = line.removeprefix(f"{given}: ")
    assert "\n" not in text and "{" not in text and ";" not in text and len(text) < 120
    check_options(command, text)


def check_options(command, text):
    """The options that a hint names exist in the command that it names."""
    named = re.search("stylegan ([a-z]+)", text)
    there = options(named[1] if named else command)
    assert {*re.findall("--[a-z][a-z0-9-]*", text)} <= there


@pytest.mark.parametrize(
    "line, ours",
    [
        ("train --data=a.zip --gpus=1 --mirror=1", ["--data=a.zip", "--mirror"]),
        ("train --mirror 0 --cond true", ["--no-mirror", "--cond"]),
        ("train --no-mirror=0 --cond=False", ["--mirror", "--no-cond"]),
        ("train --aug=noaug --resume=noresume --metrics=none", ["--aug", "none"]),
        ("train --augment --target 0.5", ["--aug", "ada", "--target", "0.5"]),
        ("train --fp32=1 --allow-tf32=0 -n", ["--precision", "float32", "--no-tf32", "--dry-run"]),
        ("train --freezed=10", ["--freeze-d", "3"]),
        ("train --freezed 0", []),
        ("train --batch_gpu 4 --batch=8", ["--batch-gpu", "4", "--batch=8"]),
        ("train --resume runs/00000-a.b", ["--resume", "runs/00000-a.b"]),
        ("train --resume https://a.org/x.pkl", ["--resume", "https://a.org/x.pkl"]),
        ("train --no_pl_reg --transparent", ["--pl-weight", "0", "--channels", "4"]),
        ("train --outdir --mirror", ["--outdir", "--mirror"]),
        ("generate --seeds 1 --network=a.pkl --grid 1", ["a.pkl", "--seeds", "1", "--grid"]),
        ("generate a.pkl --translate -0.1,0", ["a.pkl", "--translate", "-0.1,0"]),
        ("generate --compile=0 a", ["a"]),
        ("dataset --dest b.zip --source a --dedupe", ["a", "--dedupe", "b.zip"]),
        ("dataset a --dedupe 1", ["a", "--dedupe", "1"]),  # a folder called 1
        ("dataset --dedupe=true a b", ["--dedupe", "a", "b"]),
        ("convert --source a.pkl --dest b", ["a.pkl", "b"]),
        ("generate -- --network a", ["--", "--network", "a"]),
        ("runs --json=1", ["--json"]),
    ],
)
def test_the_same_meaning(line, ours):
    assert translated(line) == ours


@pytest.mark.parametrize(
    "line, words",
    [
        ("train --num-train-steps 1000 --batch-size 5", "--num-train-steps 1000: counts steps, "
         "while --kimg counts thousands of images: --kimg 5"),
        ("train --num_train_steps 1000 --batch 8 --gradient-accumulate-every 2",
         "thousands of images: --kimg 16; --gradient-accumulate-every 2: --batch counts the "
         "images of a whole step: --batch 16"),
        ("train --snap=50", "--snap=50: counts ticks there, here it is --snapshot-kimg 200"),
        ("train --snap 5 --tick 2", "--snapshot-kimg 10"),
        ("train --iter 800000", "--kimg 12800"),
        ("train --channel_multiplier 2", "--channel-base 32768"),
        ("train --network-capacity 16 --image-size 256", "--channel-base 8192"),
        ("train --learning-rate 0.0002", "--g-lr 0.0002 --d-lr 0.0003"),
        ("train --cfg cifar", "--cfg cifar: this preset does not exist, its settings are"),
        ("train --resume=ffhq512", "download the network, then give it with --init-from FILE"),
        ("train --ada_length 500000", "here it is --ada-kimg 500"),
        ("train --augment_p 0.3", "here it is --aug-p 0.3, with --aug fixed"),
        ("train --aug-prob 0.25", "here it is --aug diff or --aug ada"),
        ("train --snap", "--snap: counts ticks there, here it is --snapshot-kimg ..."),
        ("generate a --pics 20", "--seeds 0-19"),
        ("generate a --pics 20 --sample 2", "--seeds 0-39"),
        ("video a --num-keyframes 5", "--seeds 0-4"),
        ("dataset a b --width=256 --height=128", "--resolution 256x128"),
        ("metrics a --metrics=fid50k_full", "this metric is not available yet"),
        ("metrics a --metrics eqt50k_int,eqr50k", "here it is --metrics eqt --samples 50000"),
    ],
)  # fmt: skip
def test_hints_convert_values(line, words):
    assert words in hint(line)


def test_a_folder_may_have_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("ffhq512", "1"):
        (tmp_path / name).mkdir()
    assert translated("train --resume ffhq512") == ["--resume", "ffhq512"]
    assert translated("generate --grid 1") == ["--grid", "1"]
    assert translated("train --mirror 1") == ["--mirror"]  # takes no path


@pytest.mark.parametrize("command", sorted(OTHER_COMMANDS))
def test_every_other_command_is_answered(command):
    line = no_such_command(command, COMMANDS)
    start = f"No such command '{command}'; "
    assert command not in COMMANDS and line.startswith(start)
    rest = line.removeprefix(start)
    assert ";" not in rest and "stylegan " in rest
    assert {*re.findall("stylegan ([a-z]+)", rest)} <= {*COMMANDS}
    if re.search("stylegan [a-z]+", rest):
        check_options("train", rest)


@pytest.mark.parametrize(
    "name, words",
    [
        ("trian", "did you mean stylegan train?"),
        ("Train", "did you mean stylegan train?"),
        ("vid", "did you mean stylegan video?"),
        ("gen_images.py", "use stylegan generate"),
        ("gen-images", "use stylegan generate"),
        ("projectr", "photos cannot be projected yet"),
        ("paint", "stylegan --help shows what there is"),
        ("", "stylegan --help shows what there is"),
    ],
)
def test_misspelt_commands(run, name, words):
    code, out, err = run(name)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert err.startswith(f"stylegan: No such command {name!r}; ") and words in err


@pytest.mark.parametrize(
    "line, words",
    [
        ("--data photos", "stylegan: --data; a command comes first, as in stylegan train --data\n"),
        ("--network a", "as in stylegan generate --network\n"),
        ("--what", "stylegan: No such option '--what'; stylegan --help shows what there is\n"),
        ("train --trunc 1", "stylegan train: No such option '--trunc'; stylegan generate has it\n"),
        ("train --trunk 1", "No such option '--trunk'; stylegan train --help shows what there is"),
        ("generate --trunk 1", "No such option '--trunk'; did you mean --trunc?"),
        ("train --transparant", "did you mean --transparent?"),
        ("train --gama 1", "did you mean --gamma?"),
        ("train --mirror=2", "does not take a value"),
        ("train --snap 50", "stylegan train: --snap 50: counts ticks there"),
    ],
)
def test_wrong_options_in_one_line(run, line, words):
    code, out, err = run(*line.split())
    assert (code, out) == (2, "") and words in err and err.count("\n") == 1, err


@pytest.mark.parametrize(
    "line",
    [
        "dataset a {}",
        f"convert {ROOT}/tests/fixtures/sg2ada-64.pkl {{}}",
        "train --dry-run --outdir {}",
        "info a --sheet {}.png",
    ],
)
def test_an_address_is_no_output(run, tmp_path, line):
    (tmp_path / "a").mkdir()
    code, out, err = run(*line.format("s3://bucket/folder/x").split())
    assert (code, out) == (2, "") and "is an address; write to a folder of this machine" in err
    assert "s3://bucket/folder" in err and [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "line", ["runs {}", f"info {ROOT}/tests/fixtures/sg2ada-64.pkl --like {{}}", "info {}"]
)
def test_an_address_is_no_input(run, line):
    code, out, err = run(*line.format("https://example.org/a.npz").split())
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert "https://example.org/a.npz: is a web address; download the file first" in err


def test_python_m_stylegan():
    command = [sys.executable, "-m", "stylegan", "trian"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "stylegan: No such command 'trian'; did you mean stylegan train?\n"


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids="-".join)
def test_short_help(run, command):
    code, out, err = run(*command, "-h")
    assert (code, err) == (0, "") and out == run(*command, "--help")[1] and "-h, --help" in out
