# SPDX-License-Identifier: Apache-2.0
"""Bar charts of the results of bench_generator.py, bench_modconv.py and bench_winograd.py.

    python benchmarks/harness/plots.py RESULT.jsonl ...

writes RESULT.png beside each file. Needs matplotlib (the extra "bench").
"""

import json
from pathlib import Path

import click

COLORS = {  # blue for the kernels, grey and warm colours for the others
    "reference": "#b8b8b8",
    "reference, tuned": "#7d7d7d",
    "reference, compiled": "#d98c4a",
    "compile": "#d98c4a",
    "kernels": "#8fbbe3",
    "kernels, tuned": "#1f6fb4",
    "kernels, graph": "#1f6fb4",
    "auto": "#1f6fb4",
    "folded": "#0b3c6b",
    "tile2": "#8fbbe3",
    "tile4": "#1f6fb4",
    "up": "#1f6fb4",
    "down": "#1f6fb4",
}
PLAIN, HELPED = "#d98c4a", "#1f6fb4"  # a training run without help, and one with it
STRATEGIES = {  # their markers
    "weights": "o",
    "sandwich": "s",
    "samples": "^",
    "winograd": "D",
    "tensor_core_layer": "D",
}
LABELS = {
    "auto": "stylegan_ops",
    "folded": "stylegan_ops, weights folded",
    "compile": "reference, torch.compile",
}
WIDTH = 0.8  # of a group of bars; the distance between two groups is 1
STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#999999",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "savefig.dpi": 150,
}


def draw(path, chart=None):
    """Write the chart of a result file.

    Args: chart: a function of (rows, pyplot) that returns a figure; None: that of CHARTS.
    Returns: its path; None for a result without a chart.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
    name = rows[0]["benchmark"].split()[0] if rows else None
    chart = chart or CHARTS.get(name)
    if chart is None:
        return None
    with plt.rc_context(STYLE):
        figure = chart(rows, plt)
        if figure is None:
            return None
        figure.text(
            0.995, 0.005, caption(rows[0]), ha="right", va="bottom", color="#777777", size=8
        )
        out = Path(path).with_suffix(".png")
        figure.savefig(out)
        plt.close(figure)
    return out


def after(out, chart=None):
    """Draw the chart of out.jsonl at the end of a benchmark, or print why there is none.

    Args:
        out: as in `common.report`.
        chart: as in `draw`.
    """
    if out is None:
        return
    try:
        written = draw(Path(out).with_suffix(".jsonl"), chart)
    except ImportError:
        click.echo("no chart: matplotlib is not installed (pip install matplotlib)")
    else:
        click.echo(written or "no chart: no result of a kind that has one")


def caption(row):
    threads = f"{row['threads']} threads, " if row["cuda"] is None else ""
    torch = row["torch"].split("+")[0]
    return f"{row['device']}, {threads}PyTorch {torch}, {row['date']}, commit {row['commit']}"


def bars(ax, groups, values, numbers=False):
    """Grouped bars.

    Args:
        groups: labels on the x axis.
        values: {contestant: one height per group, None for none}.
        numbers: write each above its bar.
    """
    width = WIDTH / len(values)
    for i, (who, heights) in enumerate(values.items()):
        at = [(g + width * (i + 0.5) - WIDTH / 2, h) for g, h in enumerate(heights) if h]
        label = LABELS.get(who, who)
        drawn = ax.bar(*zip(*at), width * 0.94, label=label, color=COLORS[who]) if at else ()
        if numbers and at:
            ax.bar_label(
                drawn, [f"{h:.3g}" if h < 100 else f"{h:.0f}" for _, h in at], size=7, padding=1
            )
    ax.set_xticks(range(len(groups)), groups)
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.6, len(groups) - 0.4)


def generator(rows, plt):
    """ms an image by size and contestant: a panel for each size, as they differ by much."""
    sizes = [*dict.fromkeys(r["size"] for r in rows)]
    who = [c for c in COLORS if any(r["contestant"] == c for r in rows)]
    ms = {(r["size"], r["batch"], r["contestant"]): r["ms per image"] for r in rows}
    batches = {size: sorted({b for s, b, _ in ms if s == size}) for size in sizes}
    ratios = {"width_ratios": [len(batches[size]) + 0.4 for size in sizes]}
    width = 2 + 2.2 * sum(map(len, batches.values()))
    figure, axes = plt.subplots(
        1, len(sizes), figsize=(max(width, 6), 4.2), squeeze=False, gridspec_kw=ratios
    )
    for ax, size in zip(axes[0], sizes):
        heights = {c: [ms.get((size, b, c)) for b in batches[size]] for c in who}
        bars(ax, [f"batch {b}" for b in batches[size]], heights, numbers=True)
        ax.set_title(f"{size} px", size=11)
    axes[0][0].set_ylabel("ms per image, less is better")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="upper center", ncols=len(who))
    figure.tight_layout(rect=(0, 0.03, 1, 0.93))
    return figure


def modconv(rows, plt):
    """Forward time over that of the bare convolution: a panel per network and batch."""
    rows = [r for r in rows if r["pass"] == "forward" and "torgb" not in r["layer"]]
    panels = sorted({(int(n), r["batch"]) for r in rows for n in r["network"].split("+")})
    if not panels:
        return None
    networks, batches = ([*dict.fromkeys(p[i] for p in panels)] for i in (0, 1))
    batches.sort()
    shape = len(networks), len(batches)
    size = (6.5 * shape[1], 0.8 + 3.1 * shape[0])
    figure, axes = plt.subplots(*shape, figsize=size, squeeze=False, sharey="row")
    for y, network in enumerate(networks):
        for x, batch in enumerate(batches):
            found = [
                r for r in rows if r["batch"] == batch and str(network) in r["network"].split("+")
            ]
            modconv_panel(axes[y][x], found)
            axes[y][x].set_title(f"{network} px network, batch {batch}", size=11)
        axes[y][0].set_ylabel("time / bare convolution")
    handles = {}
    for ax in axes.flat:
        handles |= {label: h for h, label in zip(*ax.get_legend_handles_labels())}
    order = [*(LABELS.get(c, c) for c in COLORS), *map("“{}”".format, STRATEGIES)]
    order = [label for label in order if label in handles]
    figure.legend([handles[k] for k in order], order, loc="upper center", ncols=len(order))
    figure.suptitle(" ", size=10)  # space for the legend
    for ax in axes[-1]:
        ax.set_xlabel("layer: px of its output, name")
    figure.tight_layout(rect=(0, 0.025, 1, 1))
    return figure


def modconv_panel(ax, rows):
    rows = sorted(rows, key=lambda r: (int(r["layer"].split()[0]), r["layer"]))
    relative = {
        c: [r[c] / r["bare"] if r.get(c) else None for r in rows]
        for c in ("reference", "compile", "auto", "folded", *STRATEGIES)
    }
    relative = {c: v for c, v in relative.items() if any(v)}
    bars(
        ax,
        [r["layer"].replace(" ", "\n") for r in rows],
        {c: v for c, v in relative.items() if c not in STRATEGIES},
    )
    for c in STRATEGIES:
        at = [(i, v) for i, v in enumerate(relative.get(c, ())) if v]
        if at:
            ax.plot(
                *zip(*at), STRATEGIES[c], color="black", mfc="none", ms=4, mew=0.8, label=f"“{c}”"
            )
    ax.axhline(1, color="black", lw=0.8, ls="--")
    ax.tick_params(axis="x", labelsize=7)


def winograd(rows, plt):
    """Time of the library's convolution over that by tiles: a panel per kind and batch."""
    isa = rows[-1]["isa"]  # the last is the best
    rows = [r for r in rows if r["isa"] == isa]
    kinds, batches = ([*dict.fromkeys(r[k] for r in rows)] for k in ("convolution", "batch"))
    batches.sort()
    shape = len(kinds), len(batches)
    size = (6.5 * shape[1], 0.8 + 2.8 * shape[0])
    figure, axes = plt.subplots(*shape, figsize=size, squeeze=False, sharey="row")
    for y, kind in enumerate(kinds):
        for x, batch in enumerate(batches):
            found = [r for r in rows if (r["convolution"], r["batch"]) == (kind, batch)]
            winograd_panel(axes[y][x], found)
            axes[y][x].set_title(f"{kind}, batch {batch}, {isa}", size=11)
        axes[y][0].set_ylabel("PyTorch / stylegan_ops")
    for ax in axes[-1]:
        ax.set_xlabel("px of the larger side, channels")
    figure.tight_layout(rect=(0, 0.025, 1, 1))
    return figure


def winograd_panel(ax, rows):
    """Bars for transformed weights, a mark where the time to transform them is included."""
    position = lambda r: (r["px"], -int(r["channels"].split("-")[0]))
    groups = sorted({position(r): r["channels"] for r in rows}.items())
    of = {(r["form"], position(r)): r for r in rows}
    forms = [*dict.fromkeys(r["form"] for r in rows)]
    heights = {f: [of[f, at]["ratio folded"] for at, _ in groups] for f in forms}
    bars(ax, [f"{px}\n{channels}" for (px, _), channels in groups], heights)
    marks = []
    for bar, form in zip(ax.containers, forms):
        middles = [b.get_x() + b.get_width() / 2 for b in bar]
        marks += zip(middles, [of[form, at]["ratio unfolded"] for at, _ in groups])
    label = "weights transformed in each call"
    ax.plot(*zip(*marks), "o", color="black", mfc="none", ms=3, mew=0.8, label=label)
    ax.axhline(1, color="black", lw=0.8, ls="--")
    ax.tick_params(axis="x", labelsize=6)
    ax.margins(y=0.2)  # room for the legend
    ax.legend(loc="upper center", ncols=len(forms) + 1, fontsize=8)


CHARTS = {"generator": generator, "modulated_conv2d": modconv, "winograd": winograd}


@click.command(help=__doc__)
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def main(results):
    for path in results:
        try:
            click.echo(draw(path) or f"{path}: there is no chart of this benchmark")
        except ImportError as e:
            raise click.ClickException(f"{e} (pip install matplotlib)") from e


if __name__ == "__main__":
    main()
