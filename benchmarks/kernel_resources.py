# SPDX-License-Identifier: Apache-2.0
"""Registers, shared memory and spills of every CUDA kernel, as nvcc reports them; no GPU needed.

Exit code 1 where a kernel spills or the compiler warns.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from harness.common import ROOT, report, where

from stylegan_ops.build.cuda_tools import find_cuda_home
from stylegan_ops.build.tools import Missing

FLAGS = ["-O3", "-std=c++17", f"-I{ROOT / 'csrc'}", "--Werror", "all-warnings", "-Xptxas", "-v"]
FLAGS += ["-Xptxas", "--warn-on-spills"]
TAPS = "four any separable".split()  # csrc/upfirdn2d/cuda/tile.cuh
ACTS = "linear relu lrelu tanh sigmoid elu selu softplus swish".split()  # csrc/lib/activation.h


def compile_kernels(nvcc, source, arch):
    """(rows of the table, lines with a warning or an error, seconds) of one file for one target."""
    target = f"arch=compute_{arch.removeprefix('sm_')},code={arch}"
    with tempfile.TemporaryDirectory() as folder:
        output = ["-c", str(source), "-o", str(Path(folder) / "kernels.o")]
        start = time.perf_counter()
        command = [str(nvcc), *FLAGS, "-gencode", target, *output]
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - start
    text = done.stdout + done.stderr
    rows = [row | {"arch": arch} for row in parse(text)]
    notes = [line for line in text.splitlines() if re.search(r"\b(warning|error)\b", line)]
    if done.returncode != 0 and not notes:
        notes = [f"{source.name}: nvcc ends with {done.returncode}: {text[-2000:]}"]
    return rows, notes, seconds


def parse(text):
    """A row for each kernel that ptxas -v tells of; functions that it calls count as its own."""
    rows = []
    for line in text.splitlines():
        if found := re.search(r"Compiling entry function '(\S+)'", line):
            keys = ("registers", "shared_bytes", "stack_bytes", "spill_stores", "spill_loads")
            rows.append({"kernel": found[1], "arch": None, **dict.fromkeys(keys, 0)})
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) .* stores, (\d+) .* loads", line):
            stack, stores, loads = map(int, found.groups())
            row = rows[-1]
            row["stack_bytes"] = max(row["stack_bytes"], stack)
            row["spill_stores"] += stores
            row["spill_loads"] += loads
        elif found := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            rows[-1]["registers"] = int(found[1])
            rows[-1]["shared_bytes"] = int(shared[1]) if shared else 0
    for row, name in zip(rows, demangled([row["kernel"] for row in rows])):
        row["kernel"] = shortened(name)
    return rows


def demangled(names):
    filter = find_cuda_home()[0] / "bin" / "cu++filt"
    command = [str(filter) if filter.is_file() else "c++filt"]
    done = subprocess.run(command, input="\n".join(names), capture_output=True, text=True)
    return done.stdout.split("\n")[: len(names)]


def shortened(name):
    """grad_kernel<4, float, Grad<float, tanh>> of a demangled signature."""
    name = re.sub(r"\(\w+::Act\)(\d+)", lambda m: ACTS[int(m[1])], name)
    name = re.sub(r"\((?:\w+::)*Taps\)(\d+)", lambda m: TAPS[int(m[1])], name)
    name = re.sub(r"\(int\)", "", name)
    name = re.sub(r"(\w+|\(anonymous namespace\)|<unnamed>)::", "", name)
    name = name.removeprefix("void ").replace(" >", ">").replace("__nv_bfloat16", "bfloat16")
    depth = 0
    for i, char in enumerate(name):  # the arguments begin at the first bracket outside of <>
        depth += (char == "<") - (char == ">")
        if char == "(" and depth == 0:
            return name[:i].replace("__half", "half")
    return name.replace("__half", "half")


@click.command(help=__doc__)
@click.option("--arch", "archs", multiple=True, default=["sm_80", "sm_90", "sm_120"])
@click.option("--out", type=Path, help="Also write OUT.md, OUT.jsonl and OUT_summary.*.")
def main(archs, out):
    try:
        home, version = find_cuda_home()
    except Missing as missing:
        raise click.ClickException(str(missing)) from missing
    nvcc = home / "bin" / "nvcc"
    machine = where("cpu") | {"cuda": version}
    kernels, summary, notes = [], [], []
    for source in sorted((ROOT / "csrc").glob("*/cuda/*.cu")):
        for arch in archs:
            rows, found, seconds = compile_kernels(nvcc, source, arch)
            kernels += rows
            notes += [f"{arch}: {line}" for line in found]
            summary.append(summarized(source.name, arch, rows, found, seconds))
    if kernels:
        report("Kernels", kernels, machine, out)
    report("Summary", summary, machine, out and out.with_name(out.name + "_summary"))
    for line in notes:
        click.echo(line, err=True)
    sys.exit(bool(notes) or any(row["spills"] for row in summary))


def summarized(file, arch, rows, notes, seconds):
    return {
        "file": file,
        "arch": arch,
        "kernels": len(rows),
        "max_registers": max((row["registers"] for row in rows), default=0),
        "spills": sum(row["spill_stores"] + row["spill_loads"] > 0 for row in rows),
        "warnings": len(notes),
        "compile_s": seconds,
    }


if __name__ == "__main__":
    main()
