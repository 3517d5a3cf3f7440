# SPDX-License-Identifier: Apache-2.0
"""What the command lines of other StyleGAN programs say here: NVIDIA's stylegan2-ada-pytorch and
stylegan3, and the stylegan2-pytorch of rosinality and of lucidrains.

An option with the same meaning works under its other name. For any other, a hint gives ours, with
the value converted. docs/coming-from.md shows whole commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Foreign:
    """An option of another program, or values of another program for an option of ours."""

    hint: str = ""  # what to do; {} is the value, {n} the converted one
    same: str = ""  # our option with the same meaning, or the name of an argument
    means: Mapping[str, str] = field(default_factory=dict)  # our options by value, a pattern
    hints: Mapping[str, str] = field(default_factory=dict)  # hints by value, a pattern
    flag: bool = False  # needs no value
    # {n} is the value times `factor`, times the values of other options, plus `plus`.
    factor: float = 1
    times: Mapping[str, float] = field(default_factory=dict)  # {"--a|--b": default there}
    plus: float = 0


def _same(name: str) -> Foreign:
    return Foreign(same=name)


def _hint(text: str, nothing: str = "", flag: bool = False) -> Foreign:
    """`nothing`: values, a pattern, that ask for what happens here anyway."""
    return Foreign(text, means={nothing: ""} if nothing else {}, flag=flag)


KIMG = "counts steps, while --kimg counts thousands of images: --kimg {n}"
OFF = "0|none|no"
ONE_GPU = "one GPU, which --device cuda:1 chooses, so leave it out"
NOT_HERE = "there is no such change to the network or the loss here, so leave it out"
OF_NETWORK = "leave it out, the file of the network says it"
NO_METRIC = "training computes no metrics, so leave it out"
NO_FID = "this metric is not available yet, only --metrics eqt,eqr"
STEPS = {"--batch-size|--batch": 5.0, "--gradient-accumulate-every": 1.0}  # images in a step
DOWNLOAD = "download the network, then give it with --init-from FILE"
CIFAR = (
    "this preset does not exist, its settings are --resolution 32 --batch 64 --kimg 100000 "
    "--gamma 0.01 --ema-kimg 500 --pl-weight 0 --style-mixing 0 --d-architecture orig"
)

_TRAIN_NVIDIA = {
    "--gpus": _hint("training uses " + ONE_GPU, "1"),
    "--snap": Foreign(
        "counts ticks there, here it is --snapshot-kimg {n}", times={"--tick|--tick-kimg": 4}
    ),
    "--tick": _same("--tick-kimg"),
    "--cfg": Foreign(
        hints={
            "cifar": CIFAR,
            "fastgan(_lite)?": "FastGAN is not available, --cfg auto is StyleGAN2",
        }
    ),
    "--aug": Foreign(means={"noaug": "--aug none"}),
    "--cbase": _same("--channel-base"),
    "--cmax": _same("--channel-max"),
    "--glr": _same("--g-lr"),
    "--dlr": _same("--d-lr"),
    "--map-depth": _same("--mapping-layers"),
    "--resume": Foreign(
        means={"noresume": ""},
        hints={
            "(ffhq|ffhqu|afhq|metfaces|brecahad|celebahq|lsundog)[a-z]*[0-9]*": DOWNLOAD,
        },
    ),
    "--freezed": Foreign(  # the first block has 4 layers with its fromrgb, others have 3
        "counts layers of D, while --freeze-d counts blocks: --freeze-d 1 for 4 layers, 2 for 7, 3 "
        "for 10, 4 for 13",
        means={"0": "", **{str(3 * n + 1): f"--freeze-d {n}" for n in range(1, 9)}},
    ),
    "--metrics": _hint(NO_METRIC, "none"),
    "--fp32": Foreign(flag=True, means={"1": "--precision float32", "0": ""}),
    "--allow-tf32": Foreign(
        "leave it out, convolutions use TF32 unless --no-tf32 is given",
        flag=True,
        means={"0": "--no-tf32"},
    ),
    "--nobench": _hint("there is no such choice here, so leave it out", "0", flag=True),
    "--nhwc": _hint("leave it out, the layout in memory is chosen for you", "0", flag=True),
    "--desc": _hint("runs have no descriptions, so leave it out or use another --outdir"),
    "-n": Foreign(flag=True, means={"1": "--dry-run", "0": ""}),
    "--subset": _same("--max-images"),
}

_TRAIN_ROSINALITY = {
    "--path": _same("--data"),
    "--iter": Foreign(KIMG, factor=0.001, times={"--batch|--batch-size": 16}),
    "--size": _same("--resolution"),
    "--ckpt": _hint("--init-from {} starts with its weights, while --resume continues a run"),
    "--r1": _same("--r1-gamma"),
    "--mixing": _same("--style-mixing"),
    "--path-regularize": _same("--pl-weight"),
    "--path-batch-shrink": _same("--pl-batch-shrink"),
    "--d-reg-every": _same("--r1-interval"),
    "--g-reg-every": _same("--pl-interval"),
    "--lr": _hint("G and D have their own: --g-lr {} --d-lr {}"),
    "--channel-multiplier": Foreign("here it is --channel-base {n}", factor=16384),
    "--arch": _hint("leave it out, only StyleGAN2 and StyleGAN3 are available", "stylegan2"),
    "--n-sample": _hint("leave it out, sheets have a fixed size, and --grid-kimg says how often"),
    "--wandb": _hint("leave it out, report.html in the run's folder has the curves", "0", True),
    "--local-rank": _hint("training uses " + ONE_GPU, "0"),
    "--augment": Foreign(flag=True, means={"1": "--aug ada", "0": "--aug none"}),
    "--augment-p": Foreign("here it is --aug-p {}, with --aug fixed", means={"0(\\.0*)?": ""}),
    "--ada-length": Foreign("counts images there, here it is --ada-kimg {n}", factor=0.001),
    "--ada-every": _hint("leave it out, the probability changes every 4 steps", "4"),
}

_TRAIN_LUCIDRAINS = {
    "--name": _hint("runs are numbered, so leave it out or use --outdir {}"),
    "--image-size": _same("--resolution"),
    "--batch-size": _same("--batch"),
    "--gradient-accumulate-every": Foreign(
        "--batch counts the images of a whole step: --batch {n}, and --batch-gpu for how many at "
        "once",
        "",
        {"1": ""},
        times={"--batch-size|--batch": 5},
    ),
    "--num-train-steps": Foreign(
        "counts steps, while --kimg counts thousands of images: --kimg {n}",
        factor=0.001,
        times=STEPS,
    ),
    "--save-every": Foreign(
        "counts steps, here it is --snapshot-kimg {n}", factor=0.001, times=STEPS
    ),
    "--evaluate-every": Foreign(
        "counts steps, here it is --grid-kimg {n}", factor=0.001, times=STEPS
    ),
    "--network-capacity": Foreign(
        "here it is --channel-base {n}", factor=2, times={"--image-size|--resolution": 128}
    ),
    "--learning-rate": Foreign("G and D have their own: --g-lr {} --d-lr {n}", factor=1.5),
    "--ttur-mult": _hint("leave it out, --g-lr and --d-lr set the step sizes"),
    "--mixed-prob": _same("--style-mixing"),
    "--aug-prob": _hint("leave it out, here it is --aug diff or --aug ada", "0(\\.0*)?"),
    "--aug-types": Foreign("here it is --aug diff, and --diff-policy names some of its transforms"),
    "--dataset-aug-prob": _hint("images are never cropped at random, so leave it out", "0(\\.0*)?"),
    "--generate": _hint("stylegan generate runs draws images", "0", flag=True),
    "--generate-interpolation": _hint("stylegan video runs makes a video", "0", flag=True),
    "--trunc-psi": _hint("truncation is for drawing: stylegan generate runs --trunc {}"),
    "--transparent": Foreign(flag=True, means={"1": "--channels 4", "0": ""}),
    "--attn-layers": _hint(NOT_HERE),
    "--fq-layers": _hint(NOT_HERE),
    "--fq-dict-size": _hint(NOT_HERE),
    "--cl-reg": _hint(NOT_HERE, "0", flag=True),
    "--top-k-training": _hint(NOT_HERE, "0", flag=True),
    "--no-const": _hint(NOT_HERE, "0", flag=True),
    "--no-pl-reg": Foreign(flag=True, means={"1": "--pl-weight 0", "0": ""}),
    "--results-dir": _hint("snapshots and sheets are in one folder: --outdir {}"),
    "--models-dir": _hint("snapshots and sheets are in one folder: --outdir {}"),
    "--new": _hint("leave it out", "0|1", flag=True),  # a run is new without --resume
    "--load-from": _hint("leave it out, --resume continues from the newest snapshot"),
    "--multi-gpus": _hint("training uses " + ONE_GPU, "0", flag=True),
    "--fp16": _hint(
        "leave it out, on CUDA it is on, and --precision float32 turns it off", "0", True
    ),
    "--calculate-fid-every": _hint(NO_METRIC, OFF),
    "--num-image-tiles": _hint("leave it out, sheets have a fixed size"),
    "--num-workers": _same("--workers"),
    "--epochs": _hint("--kimg counts thousands of images: epochs * images / 1000"),
    "--gpu": _hint("--device cuda:{} chooses the GPU"),
}

_NETWORK = {
    "--network": _same("NETWORK"),
    "--ckpt": _same("NETWORK"),
    "--truncation": _same("--trunc"),
    "--trunc-psi": _same("--trunc"),
    "--truncation-psi": _same("--trunc"),
    "--truncation-mean": _hint("leave it out, the average latent is part of the network"),
    "--size": _hint(OF_NETWORK),
    "--image-size": _hint(OF_NETWORK),
    "--network-capacity": _hint(OF_NETWORK),
    "--channel-multiplier": _hint(OF_NETWORK),
    "--name": _hint("give the folder of the run as NETWORK: stylegan {command} runs"),
    "--models-dir": _hint("give the folder of the run as NETWORK: stylegan {command} {}"),
    "--load-from": _hint("give the snapshot as NETWORK: stylegan {command} runs/.../snapshots/..."),
    "--batch-size": _same("--batch"),
    "--gpus": _hint("it uses " + ONE_GPU, "1"),
    "--gpu": _hint("--device cuda:{} chooses the GPU"),
}

OPTIONS: dict[str, dict[str, Foreign]] = {
    "train": {**_TRAIN_NVIDIA, **_TRAIN_ROSINALITY, **_TRAIN_LUCIDRAINS},
    "generate": {
        **_NETWORK,
        "--projected-w": _same("--latents"),
        "--seed": _hint("here it is --seeds {}"),
        "--cols": _same("--columns"),
        "--pics": Foreign("images have seeds: --seeds 0-{n}", plus=-1, times={"--sample": 1}),
        "--sample": _hint("each image has its own file, and --seeds says how many", "1"),
        "--n-sample": _hint("each image has its own file, and --seeds says how many", "1"),
        "--num-generate": Foreign("images have seeds: --seeds 0-{n}", plus=-1),
        "--num-image-tiles": _hint("a sheet is --grid with --columns {}"),
        "--results-dir": _same("--outdir"),
        "--generate": _hint("leave it out", "0|1", flag=True),
    },
    "mix": {
        **_NETWORK,
        "--seeds": _hint("images have rows and columns: --rows {} --columns 100-105"),
        "--cols": _same("--columns"),
        "--styles": _same("--layers"),
        "--col-styles": _same("--layers"),
        "--outdir": _hint("one file is written: --out {}/mix.png"),
    },
    "video": {
        **_NETWORK,
        "--seed": _hint("here it is --seeds, two or more: --seeds {}-9"),
        "--output": _same("--out"),
        "--w-frames": _same("--frames"),
        "--interpolation-num-steps": _same("--frames"),
        "--num-keyframes": Foreign("keyframes are seeds: --seeds 0-{n}", plus=-1),
        "--shuffle-seed": _hint("leave it out, --seeds gives the keyframes in any order"),
        "--generate-interpolation": _hint("leave it out", "0|1", flag=True),
        "--outdir": _hint("one file is written: --out {}/video.mp4"),
    },
    "dataset": {
        "--source": _same("SOURCE"),
        "--dest": _same("DEST"),
        "--out": _same("DEST"),
        "--width": Foreign("width and height are one option: --resolution {}x{--height}"),
        "--height": Foreign("width and height are one option: --resolution {--width}x{}"),
        "--size": _same("--resolution"),
        "--n-worker": _same("--workers"),
        "--num-workers": _same("--workers"),
        "--max-images": _hint("leave it out, stylegan train --max-images {} takes so many"),
        "--resize-filter": _hint("leave it out, there is one filter, with antialiasing"),
        "--resample": _hint("leave it out, there is one filter, with antialiasing"),
        "--transform": Foreign(hints={"none": "--transform fit stretches images"}),
    },
    "metrics": {
        **_NETWORK,
        "--data": _hint("leave it out, --metrics eqt,eqr needs no images"),
        "--metrics": Foreign(
            hints={
                r"eqt50k_int(,.*)?|eqt50k_frac(,.*)?": "here it is --metrics eqt --samples 50000",
                r"eqr50k(,.*)?": "here it is --metrics eqr --samples 50000",
                r"(fid|kid|pr|ppl|is|swd)[0-9_].*|fid|kid|ppl|is|pr": NO_FID,
            }
        ),
        "--mirror": _hint("leave it out, --metrics eqt,eqr needs no images", "0", flag=True),
        "--seeds": _hint("here it is --seed, a single number"),
        "--n-sample": _same("--samples"),
    },
    "convert": {"--source": _same("IN"), "--dest": _same("OUT")},
}

# Programs and commands that have other names here, and how the line goes on.
COMMANDS = {
    **dict.fromkeys(("dataset_tool", "prepare_data", "prepare", "data"), "use stylegan dataset"),
    **dict.fromkeys(("gen_images", "gen", "sample", "draw"), "use stylegan generate"),
    **dict.fromkeys(("gen_video", "interpolate", "lerp"), "use stylegan video"),
    **dict.fromkeys(("style_mixing", "stylemix"), "use stylegan mix"),
    **dict.fromkeys(("calc_metrics", "fid", "kid", "ppl", "eval", "test"), "use stylegan metrics"),
    **dict.fromkeys(("legacy", "convert_weight", "export"), "use stylegan convert"),
    **dict.fromkeys(("avg_spectra",), "use stylegan spectra"),
    **dict.fromkeys(("list", "ls", "status", "history"), "use stylegan runs"),
    **dict.fromkeys(("resume", "continue"), "use stylegan train --resume runs/..."),
    **dict.fromkeys(("transfer", "finetune"), "use stylegan train --init-from NETWORK"),
    **dict.fromkeys(("show", "inspect", "describe"), "use stylegan info"),
    **dict.fromkeys(("check", "env"), "use stylegan doctor"),
    "help": "use stylegan --help",
    "version": "use stylegan --version",
    **dict.fromkeys(
        ("projector", "project", "pti", "invert"),
        "photos cannot be projected yet, stylegan generate --latents draws their latents",
    ),
    **dict.fromkeys(
        ("visualizer", "viewer", "gui", "playground"),
        "there is no viewer yet, use stylegan generate or stylegan video",
    ),
    **dict.fromkeys(
        ("closed_form_factorization", "apply_factor", "sefa"),
        "directions cannot be found yet, use stylegan mix",
    ),
}
