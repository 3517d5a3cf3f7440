# SPDX-License-Identifier: Apache-2.0
"""The images that a pipeline hands out: PIL images, an array or a tensor."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from PIL import Image

from stylegan.errors import UserError
from stylegan.imaging import grid, save_image, to_pil
from stylegan.imaging.layout import Scale
from stylegan.inference.inputs import count_of
from stylegan.words import shown

OUTPUT_TYPES = ("pil", "np", "pt")
FORMATS = ("png", "webp")
MAX_SHOWN, MAX_SHOWN_PX = 64, 128  # images in a notebook, and px of a side
MAX_LABELS = 8  # that the repr lists

Images = TypeVar("Images", list[Image.Image], np.ndarray, torch.Tensor)


def check_output_type(output_type: Any) -> None:
    """Raises: UserError if there is no such type."""
    if output_type not in OUTPUT_TYPES:
        expected = ", ".join(OUTPUT_TYPES)
        raise UserError("output_type", f"expected one of {expected}, got {shown(output_type)}")


def finish(images: torch.Tensor, output_type: str) -> list[Any]:
    """The images [n, C, H, W] of a batch, one item for each: a PIL image, or values in [0, 1]."""
    if output_type == "pil":
        return to_pil(images)
    with torch.inference_mode(False), torch.no_grad():  # ordinary tensors, which may be changed
        values = images.mul(0.5).add_(0.5).clamp_(0, 1)
        return list(values if output_type == "pt" else values.float().cpu())


def collect(items: list[Any], output_type: str) -> Any:
    """The items of all batches as `PipelineOutput.images`."""
    if output_type == "pil":
        return items
    with torch.inference_mode(False), torch.no_grad():
        images = torch.stack(items)
        return images if output_type == "pt" else images.permute(0, 2, 3, 1).contiguous().numpy()


@dataclass(frozen=True, repr=False, eq=False)
class PipelineOutput(Generic[Images]):
    """The result of a call of a `Pipeline`. It has a length, `out[0]` is its first image,
    `out[2:4]` a shorter output, and a notebook shows the pictures.

    Attributes:
        images: by `output_type` of the call. "pil": a list of PIL images, grey, RGB or RGBA. "np":
            an array [N, H, W, C] float32 in [0, 1]. "pt": a tensor [N, C, H, W] in [0, 1] on the
            device of the network, float32; float64 for a network of float64.
        ws: [N, num_ws, w_dim] on the CPU, from which the images were made.
        labels: class numbers; None without classes or if the label is a vector.
        seeds: of the images; None if they were made from latents or ws.
    """

    images: Images
    ws: torch.Tensor
    labels: list[int | None]
    seeds: list[int] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.images)

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return self.images[index]
        seeds = None if self.seeds is None else self.seeds[index]
        parts: dict[str, Any] = {"images": self.images[index], "ws": self.ws[index]}
        return replace(self, **parts, labels=self.labels[index], seeds=seeds)

    def pil(self) -> list[Image.Image]:
        """The images as PIL images, whatever their type is."""
        if isinstance(self.images, list):
            return self.images
        if isinstance(self.images, np.ndarray):
            values = torch.from_numpy(self.images).permute(0, 3, 1, 2)
        else:
            values = self.images
        return to_pil(values * 2 - 1)

    def grid(self, columns: int | None = None, scale: Scale = 1) -> Image.Image:
        """One picture of all images, in rows.

        Args:
            columns: images in a row; None: as many as leave the fewest cells empty.
            scale: a whole number by which pixels are enlarged, or "auto": until one sees something.
        Raises: UserError if there are no images.
        """
        return _sheet(self.pil(), columns, scale)

    def save(self, folder: str | Path, format: str = "png", overwrite: bool = False) -> list[Path]:
        """Write every image as a file of its own: seed0001.png if the seeds are known and differ,
        else image0000.png.

        Args:
            folder: is made if it does not exist.
            format: png or webp, both lossless.
            overwrite: replace files that exist.
        Returns: the files.
        Raises: UserError if a file exists, before any is written.
        """
        if format not in FORMATS:
            raise UserError("format", f"expected {' or '.join(FORMATS)}, got {shown(format)}")
        folder = Path(folder)
        paths = [folder / f"{name}.{format}" for name in self._names()]
        for path in [] if overwrite else paths:
            if path.exists():
                raise UserError(path, "already exists; overwrite=True replaces it")
        folder.mkdir(parents=True, exist_ok=True)
        for path, image in zip(paths, self.pil()):
            save_image(image, path)
        return paths

    def _names(self) -> list[str]:
        if self.seeds is not None and len(set(self.seeds)) == len(self):
            return [f"seed{seed:04d}" for seed in self.seeds]
        return [f"image{i:04d}" for i in range(len(self))]

    def __repr__(self) -> str:
        facts = [f"{len(self)} image{'s' * (len(self) != 1)}"]
        if isinstance(self.images, list):
            facts += [f"{i.width}x{i.height} {i.mode}" for i in self.images[:1]]
        else:
            of = "array" if isinstance(self.images, np.ndarray) else "tensor"
            where = "" if of == "array" else f" on {self.images.device}"
            facts.append(f"{of} {list(self.images.shape)} in [0, 1]{where}")
        facts.append(f"ws {list(self.ws.shape)}")
        known = [label for label in self.labels if label is not None]
        more = ", ..." * (len(known) > MAX_LABELS)
        facts += [f"labels {', '.join(map(str, known[:MAX_LABELS]))}{more}"] if known else []
        return f"PipelineOutput({', '.join(facts)})"

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: a sheet of small copies of the first images."""
        small = self._small()
        return _png(small) if small else None

    def _small(self) -> list[Image.Image]:
        small = [image.copy() for image in self[:MAX_SHOWN].pil()]
        for image in small:
            image.thumbnail((MAX_SHOWN_PX, MAX_SHOWN_PX))
        return small

    def _repr_html_(self) -> str | None:
        """The same with a line above. Images of few pixels are enlarged."""
        small = self._small()
        if not small:
            return None
        png = _png(small)
        with Image.open(io.BytesIO(png)) as sheet:
            width = sheet.width * max(round(MAX_SHOWN_PX / 2 / small[0].width), 1)
        first = f", the first {MAX_SHOWN}" if len(self) > MAX_SHOWN else ""
        text = base64.b64encode(png).decode()
        style = "image-rendering: pixelated; max-width: 100%"
        return (
            f"<div>{len(self):,} images{first}</div>"
            f'<img width="{width}" style="{style}" src="data:image/png;base64,{text}"/>'
        )


def _sheet(
    images: Sequence[Image.Image], columns: int | None = None, scale: Scale = 1
) -> Image.Image:
    if not images:
        raise UserError("grid", "there are no images")
    count = None if columns is None else count_of(columns, "columns", 1)
    return grid(images, count, scale)


def _png(images: Sequence[Image.Image]) -> bytes:
    buffer = io.BytesIO()
    _sheet(images).save(buffer, "PNG")
    return buffer.getvalue()
