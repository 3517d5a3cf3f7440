# SPDX-License-Identifier: Apache-2.0
"""Embedded colour profiles (ICC) to sRGB."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from stylegan.data.pixels.adobe_rgb import PROFILE as ADOBE_RGB
from stylegan.data.pixels.adobe_rgb import is_adobe_rgb

PROFILES = 64  # that are remembered; a data set has few different ones
SAME = 2  # levels of 255 by which a profile may differ from sRGB and still count as sRGB
NOT_COLOURS = ("1", "I", "F")  # modes, or how they begin, to which no profile is applied
SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}  # of a profile: Pillow's mode


@dataclass(frozen=True)
class Conversion:
    """What an embedded profile asks for."""

    broken: bool = False  # it cannot be read, or is of other colours than the image
    transform: Any = None  # Pillow's, to RGB
    levels: tuple[int, ...] = ()  # of grey: the 256 values in sRGB


def to_srgb(image: Image.Image) -> Image.Image:
    """The image with the colours of its profile in sRGB: L, LA, RGB or RGBA. If it has no profile,
    a broken one or that of sRGB, it is returned unchanged. LAB becomes RGB in any case. EXIF data
    that names Adobe RGB stands for a profile.

    Relative colorimetric with black point compensation. The alpha channel is not changed.
    """
    if not image.info and image.mode != "LAB":
        return image
    profile = image.info.get("icc_profile") or (ADOBE_RGB if is_adobe_rgb(image) else None)
    if (not profile and image.mode != "LAB") or image.mode.startswith(NOT_COLOURS):
        return image
    plain = _plain(image)
    done = _conversion(profile or b"", _colours(plain.mode))
    if done.levels:
        converted = (plain.getchannel("L") if plain.mode == "LA" else plain).point(done.levels)
    elif done.transform:
        converted = _applied(plain.convert("RGB") if plain.mode == "RGBA" else plain, done)
    else:
        return image if image.mode != "LAB" else _applied(image, _of_lab())
    if plain.mode in ("LA", "RGBA"):
        converted.putalpha(plain.getchannel("A"))
    converted.info = {k: v for k, v in image.info.items() if k not in DONE}
    return converted


def has_broken_profile(image: Image.Image) -> bool:
    """Whether an image, loaded or not, has a profile that is not used."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode.startswith(NOT_COLOURS):
        return False
    return _conversion(profile, _colours(PLAIN.get(image.mode, image.mode))).broken


DONE = ("icc_profile", "transparency", "exif")  # in Image.info: not true of a converted image
PLAIN = {"P": "RGB", "PA": "RGBA", "RGBa": "RGBA", "La": "LA", "RGBX": "RGB", "YCbCr": "RGB"}


def _plain(image: Image.Image) -> Image.Image:
    """The image as L, LA, RGB, RGBA, CMYK or LAB."""
    if image.has_transparency_data and image.mode not in ("RGBA", "LA"):
        return image.convert("LA" if image.mode in ("L", "La") else "RGBA")
    mode = PLAIN.get(image.mode, image.mode)
    return image if image.mode == mode else image.convert(mode)


def _colours(mode: str) -> str:
    """A mode without its alpha."""
    return {"LA": "L", "RGBA": "RGB"}.get(mode, mode)


@functools.lru_cache(PROFILES)
def _conversion(profile: bytes, mode: str) -> Conversion:
    """How a profile converts images of `mode`. lcms2 raises many kinds of errors about damaged
    profiles. The transforms have no cache of their own, so that threads may share them."""
    if not profile:
        return Conversion()
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = SPACES.get(source.profile.xcolor_space.strip(), "")
        if space != mode and (mode, space) != ("L", "RGB"):  # grey is a colour
            return Conversion(broken=True)
        if mode == "L":
            return _of_grey(source, space)
        done = Conversion(transform=_transform(source, space))
        return Conversion() if mode == "RGB" and _changes_little(done) else done
    except Exception:
        return Conversion(broken=True)


def _transform(source: Any, mode: str, flags: ImageCms.Flags = ImageCms.Flags.NONE) -> Any:
    return ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOCACHE | flags,
    )


def _applied(image: Image.Image, done: Conversion) -> Image.Image:
    converted = ImageCms.applyTransform(image, done.transform)
    assert converted is not None
    return converted


def _of_grey(source: Any, space: str) -> Conversion:
    """A conversion of grey. Without optimisation: lcms2 would interpolate between a few levels,
    which is off by 9 of 255 for a linear profile."""
    levels = np.arange(256, dtype=np.uint8)
    done = Conversion(transform=_transform(source, space, ImageCms.Flags.NOOPTIMIZE))
    converted = np.asarray(_applied(Image.fromarray(levels[None]).convert(space), done))[0, :, 1]
    same = np.abs(converted.astype(int) - levels).max() <= SAME
    return Conversion() if same else Conversion(levels=tuple(converted.tolist()))


def _changes_little(done: Conversion) -> bool:
    """Whether a profile of RGB is that of sRGB, whatever its name is."""
    levels = np.uint8(np.linspace(0, 255, 18))
    before = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(18, -1, 3)
    after = np.asarray(_applied(Image.fromarray(before), done))
    return bool(np.abs(after.astype(int) - before).max() <= SAME)


@functools.cache
def _of_lab() -> Conversion:
    return Conversion(transform=_transform(ImageCms.createProfile("LAB"), "LAB"))
