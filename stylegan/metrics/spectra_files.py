# SPDX-License-Identifier: Apache-2.0
"""Files of spectra: numbers and plots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stylegan.metrics.spectra import Spectrum


def save_numbers(
    spectra: Mapping[str, Spectrum], path: Path, about: Mapping[str, Any] | None = None
) -> None:
    """Write spectra as numbers.

    Args:
        spectra: {name: `Spectrum`}.
        path: .npz (arrays `power_0` [n, n], `frequencies_0` [n], ... and `names`), or .json (the
            slices at 0 and 45 degrees).
        about: {name: how the spectrum was made}.
    """
    about = about or {}
    if path.suffix.lower() == ".npz":
        arrays: dict[str, Any] = {"names": np.array(list(spectra))}
        arrays["about"] = np.array(json.dumps(dict(about), ensure_ascii=False))
        for i, spectrum in enumerate(spectra.values()):
            arrays[f"power_{i}"], arrays[f"frequencies_{i}"] = spectrum.power, spectrum.frequencies
        with path.open("wb") as file:
            np.savez(file, **arrays)
        return
    content = {
        name: {
            "images": spectrum.count,
            "slices": {
                str(angle): {"cycles_per_px": s.frequencies.tolist(), "db": s.db.tolist()}
                for angle, s in spectrum.slices().items()
            },
            **({"about": about[name]} if name in about else {}),
        }
        for name, spectrum in spectra.items()
    }
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", "utf-8")


def plot(
    spectra: Mapping[str, Spectrum], path: Path, about: Mapping[str, Any] | None = None
) -> None:
    """Plot spectra side by side on one scale, and their slices at 0 and 45 degrees together.

    Args:
        spectra: {name: `Spectrum`}.
        path: a file that matplotlib can write: .png, .pdf, .svg.
        about: {name: how the spectrum was made}, which the file holds as JSON.
    """
    from matplotlib.figure import Figure

    columns = len(spectra) + 2
    figure = Figure(figsize=(3.6 * columns, 3.6), layout="constrained")
    axes = figure.subplots(1, columns)
    vmax = max(s.db.max() for s in spectra.values())
    vmin = min(np.percentile(s.db, 1) for s in spectra.values())
    for axis, (name, spectrum) in zip(axes, spectra.items()):
        first, *_, last = spectrum.frequencies
        half = 0.5 / len(spectrum.power)
        image = axis.imshow(
            spectrum.db,
            cmap="viridis",
            vmin=vmin,
            vmax=vmax,
            extent=(first - half, last + half) * 2,
            origin="lower",
        )
        axis.set_title(f"{_plain(name)}\n{spectrum.count:,} images", fontsize=9)
        axis.set_xlabel("cycles per px")
    figure.colorbar(image, ax=axes[: len(spectra)], label="power, dB", shrink=0.8)
    for axis, angle in zip(axes[-2:], (0, 45)):
        for name, spectrum in spectra.items():
            part = spectrum.slices()[angle]
            axis.plot(part.frequencies, part.db, label=f" {_plain(name)}")
        axis.set_title(f"slice at {angle}°", fontsize=9)
        axis.set_xlabel("cycles per px")
        axis.grid(alpha=0.3)
    axes[-2].set_ylabel("power, dB")
    if len(spectra) > 1:
        axes[-1].legend(fontsize=8)
    field = {".pdf": "Subject", ".svg": "Description"}.get(path.suffix.lower(), "about")
    text = json.dumps(dict(about or {}), ensure_ascii=False)
    figure.savefig(path, dpi=120, metadata={field: text})


def _plain(name: str) -> str:
    """`name` without the characters that matplotlib interprets: $ begins a formula. (A legend hides
    a label that begins with _, so `plot` puts a space before it.)"""
    return name.replace("$", r"\$")
