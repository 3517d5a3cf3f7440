# SPDX-License-Identifier: Apache-2.0
"""Two checkouts of the project against each other: generators, a training step, the overhead of
calls, importing and `stylegan --help`, alternating in one run.

    python benchmarks/compare_checkouts.py ../before . --out compared

Each checkout runs in a process of its own, and both take turns. The ratio is the median over the
pairs of neighbouring runs, so that it holds when the machine's speed drifts, and the mean of two
rounds, in which one and the other starts first.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

TRAIN = {"resolution": 64, "batch": 8, "channel_base": 8192, "channel_max": 128}
GENERATORS = {
    "generator 256 px": ("paper256", {}),
    "generator 1024 px": ("paper1024", {}),
    "StyleGAN3-T 256 px": ("stylegan3-t", {"resolution": 256, "channel_base": 16384}),
}
STEP = "training step 64 px"  # with R1 and path length
CALLS = {  # tiny images, so that what is timed is the call; how many calls make a run
    "bias_act": 3000,
    "upfirdn2d": 3000,
    "filtered_lrelu": 1500,
    "conv2d_resample": 1000,
    "modulated_conv2d": 400,
    "modulated_conv2d up": 300,
}
PROGRAMS = {
    "import stylegan_ops": ["-c", "import stylegan_ops"],
    "stylegan --help": ["-c", "from stylegan.cli.main import program; program()", "--help"],
}
CASES = [*GENERATORS, STEP, *CALLS, *(f"{c}, gradient" for c in CALLS), *PROGRAMS]


def call_of(name, gradient):
    """A call of an op on a tiny image."""
    import torch

    import stylegan_ops as ops

    def rand(*shape):
        return torch.randn(*shape, requires_grad=gradient)

    x, b, w, styles = rand(1, 8, 8, 8), rand(8), rand(8, 8, 3, 3), rand(1, 8)
    f, line = ops.setup_filter([1, 3, 3, 1]), ops.setup_filter(range(1, 13))
    layer = {"padding": 1, "bias": b, "act": "lrelu"}
    return {
        "bias_act": lambda: ops.bias_act(x, b, act="lrelu"),
        "upfirdn2d": lambda: ops.upfirdn2d(x, f, padding=2),
        "filtered_lrelu": lambda: ops.filtered_lrelu(x, line, line, b, 2, 2, 11),
        "conv2d_resample": lambda: ops.conv2d_resample(x, w, f, down=2, padding=1),
        "modulated_conv2d": lambda: ops.modulated_conv2d(x, w, styles, **layer),
        "modulated_conv2d up": lambda: ops.modulated_conv2d(
            x, w, styles, up=2, resample_filter=f, **layer
        ),
    }[name]


def run_of(case):
    """A function to time. It uses public names alone, which all checkouts have."""
    import torch

    import stylegan

    torch.manual_seed(0)
    if case in GENERATORS:
        preset, fields = GENERATORS[case]
        G = stylegan.build_generator(preset, **fields).eval().requires_grad_(False)
        ws = torch.randn(1, G.num_ws, G.w_dim)
        return torch.inference_mode()(lambda: G.synthesis(ws, "const"))
    if case == STEP:
        from stylegan.training.step import TrainingStep

        step = TrainingStep(stylegan.preset("auto", **TRAIN).resolved(), torch.device("cpu"))
        reals = torch.randn(8, 3, 64, 64).clamp(-1, 1)

        def run():
            step.steps = 0
            step.step(reals)

        return run
    name, _, gradient = case.partition(", ")
    call = call_of(name, bool(gradient))

    def calls():
        for _ in range(CALLS[name]):
            call()

    return calls if gradient else torch.no_grad()(calls)


def serve(root):
    """Time the cases that standard input names, a line each, with the packages in `root`."""
    sys.path.insert(0, root)
    import torch

    import stylegan_ops

    assert Path(stylegan_ops.__file__).parents[1] == Path(root), stylegan_ops.__file__
    stylegan_ops.tune_cpu_allocator()
    current, run = None, None
    with stylegan_ops.planning("fixed"):
        for line in sys.stdin:
            if line.strip() != current:
                current = line.strip()
                large = current in GENERATORS or current == STEP
                torch.set_num_threads(
                    os.cpu_count() if large else 1
                )  # threads hide what calls take
                run = run_of(current)
                run()
            start = time.perf_counter()
            run()
            print(json.dumps((time.perf_counter() - start) * 1e3), flush=True)


class Checkout:
    """A checkout, and a process that times with it."""

    def __init__(self, root):
        self.root = str(Path(root).resolve())
        command = [sys.executable, __file__, "--serve", self.root]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=self.environment, **pipes)

    @property
    def environment(self):
        return {**os.environ, "PYTHONPATH": self.root}

    def time_ms(self, case):
        if case in PROGRAMS:
            start = time.perf_counter()
            command = [sys.executable, *PROGRAMS[case]]
            subprocess.run(command, env=self.environment, stdout=subprocess.DEVNULL, check=True)
            return (time.perf_counter() - start) * 1e3
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def race(roots, order, cases, runs):
    """{case: [times of the one, of the other]} in ms; order: which checkout starts first."""
    checkouts = {k: Checkout(roots[k]) for k in order}
    found = {}
    for case in cases:
        found[case] = times = [[], []]
        for i in range(runs + 1):
            for k in (0, 1) if i % 2 else (1, 0):
                ms = checkouts[k].time_ms(case)
                if i:  # the first run warms up
                    times[k].append(ms)
        print(case, *(f"{statistics.median(t):.1f}" for t in times), flush=True)
    for checkout in checkouts.values():
        checkout.process.stdin.close()
        checkout.process.wait()
    return found


@click.command()
@click.argument("before", type=click.Path(exists=True))
@click.argument("after", type=click.Path(exists=True), required=False)
@click.option(
    "--runs", default=9, show_default=True, help="Of each case, in each checkout and round."
)
@click.option("--cases", help="Names, separated by semicolons. Default: all.")
@click.option("--out", type=click.Path(), help="Write OUT.md and OUT.jsonl too.")
@click.option("--serve", "serving", is_flag=True, hidden=True)
def main(before, after, runs, cases, out, serving):
    """Time BEFORE against AFTER, two checkouts."""
    if serving:
        return serve(before)
    from harness.common import report, where  # not where another checkout is timed

    roots, cases = (before, after), cases.split(";") if cases else CASES
    # The process that starts second is up to 10 % slower at some cases, whichever checkout it has.
    rounds = [race(roots, order, cases, runs) for order in ((0, 1), (1, 0))]
    rows = []
    for case in cases:
        pairs = [r[case] for r in rounds]
        ratios = [statistics.median(b / a for a, b in zip(*times)) for times in pairs]
        a, b = (statistics.median([*pairs[0][k], *pairs[1][k]]) for k in (0, 1))
        ratio = statistics.geometric_mean(ratios)
        rows.append({"case": case, "before ms": a, "after ms": b, "ratio": ratio})
    report("compare_checkouts", rows, where("cpu"), out)


if __name__ == "__main__":
    main()
