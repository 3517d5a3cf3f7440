# SPDX-License-Identifier: Apache-2.0
"""Any pictures to a data set of one size and kind: a zip or a folder with dataset.json."""

import functools
import hashlib
import io
import json
import signal
import zipfile
from collections import Counter, deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from os.path import splitext
from pathlib import Path

from PIL import Image

from stylegan.data import decode
from stylegan.data.labels import FILE, read_labels, stray_images
from stylegan.data.source import open_source
from stylegan.data.survey import cpu_count, images_in, survey
from stylegan.errors import UserError, reason_for
from stylegan.files import partial_pattern, remove_partial, whole_file, whole_folder
from stylegan.words import pixels as px

LOOK_AT = 256  # images opened beforehand, to learn sizes and channels
CHUNK = 8  # images a process gets at once
AHEAD = 4  # chunks per process that may wait, so that memory stays bounded
ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz", ".bz2"}


@dataclass
class Prepared:
    """What came of it."""

    path: Path
    size: tuple  # height, width in px
    channels: int
    written: int = 0
    enlarged: int = 0  # of these, how many were smaller
    duplicates: int = 0
    class_names: tuple = ()
    labelled: bool = False
    failures: list = field(default_factory=list)  # [(file, why)] of those that are not in it
    ignored: Counter = field(default_factory=Counter)  # {ending: files} that are no images


def prepare(
    source,
    dest,
    size=None,
    transform="center-crop",
    channels=None,
    labels=True,
    dedupe=False,
    workers=None,
    overwrite=False,
    progress=lambda names: names,
):
    """Write the images of `source` to `dest`, all of one size and kind, as PNG.

    A file that cannot be used is left out and named in the result. `dest` appears whole or not at
    all; nothing else is written.

    Args:
        source: folder or zip; nested folders count, a folder per class or dataset.json labels.
        dest: a path that ends in .zip, or a folder.
        size: (height, width) in px; None: all images have the size of the first.
        transform: a key of TRANSFORMS.
        channels: 1, 3 or 4; None: as most images have.
        labels: keep them.
        dedupe: leave out images whose pixels are those of one before.
        workers: processes; 0 works in this one. None: as many as there are CPUs.
        overwrite: replace what is at dest.
        progress: wraps the list of file names that is gone through.
    Returns: `Prepared`.
    Raises: UserError if nothing can be written.
    """
    if transform == "center-crop-wide" and (size is None or size[1] <= size[0]):
        raise UserError("center-crop-wide", "expected a resolution that is wider than high")
    source, shown = open_source(source), Path(dest)
    dest = shown.absolute()
    _check(source.path, dest, overwrite)
    files, given, failures, ignored = _gather(source, labels)
    seen = survey(source, files, LOOK_AT)
    if size is None:
        size, transform = seen.one_size(source.path), None
    final = (size[1], size[1]) if transform == "center-crop-wide" else size
    channels = channels or seen.common_channels
    out = Prepared(shown, final, channels, failures=failures, ignored=ignored)
    convert = functools.partial(_convert, source, size, transform, channels)
    results = _results(convert, progress(files), workers)
    try:
        with _target(dest) as target:
            _fill(target, source, out, results, files, given, dedupe)
    except OSError as e:
        raise OSError(e.errno, e.strerror or str(e), str(shown)) from e
    finally:
        results.close()
    return out


def _gather(source, with_labels):
    """(images, their `Labels` or None, [(file, why)] that cannot be used, {ending: other files})"""
    files, failures, ignored = images_in(source), list(source.problems), Counter()
    for name in sorted(set(source.names) - set(files)):
        ending = splitext(name)[1].lower()
        if ending in ARCHIVES:
            failures.append((name, "an archive in the data is not opened; unpack it first"))
        elif name.split("/")[-1] != FILE:
            ignored[ending or "no ending"] += 1
    if not with_labels:
        return files, None, failures, ignored
    given = read_labels(source, files, unlabelled := [])
    failures += [
        (name, "has a label, but is not there") for name in (given and given.missing or ())
    ]
    failures += [(name, "has no label in dataset.json") for name in unlabelled]
    without = set(unlabelled)
    files = [name for name in files if name not in without]
    if not given:
        why = "beside the folders, so that these are no classes (it is used)"
        failures += [(name, why) for name in stray_images(files)]
    return files, given, failures, ignored


def _fill(target, source, out, results, files, given, dedupe):
    """Write the images and dataset.json."""
    rows, known = [], set()
    for i, (name, result) in enumerate(zip(files, results)):
        if isinstance(result, str):
            out.failures.append((name, result))
            continue
        png, digest, small = result
        if dedupe and digest in known:
            out.duplicates += 1
            continue
        known.add(digest)
        path = f"{out.written // 1000:05d}/img{out.written:08d}.png"
        target.write(path, png)
        if given:
            rows.append([path, given.values[i].tolist()])
        out.written += 1
        out.enlarged += small
    if not out.written:
        why = ": ".join(out.failures[-1])
        raise UserError(source.path, f"none of {len(files)} images can be used; {why}")
    content = {"labels": rows if given else None}
    if given:
        out.class_names, out.labelled = given.names, True
        content |= {"label_names": list(given.names)} if given.names else {}
    target.write(FILE, json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))


def _results(convert, files, workers):
    """(PNG, digest, enlarged) of every file, or why it cannot be used, in their order."""
    workers = cpu_count() if workers is None else workers
    if not workers:
        yield from (convert([name])[0] for name in files)
        return
    chunks, waiting, pool = _chunks(files), deque(), _pool(workers)
    try:
        while True:
            while len(waiting) < AHEAD * workers and (chunk := next(chunks, None)):
                waiting.append((chunk, pool.submit(convert, chunk)))
            if not waiting:
                return
            chunk, future = waiting.popleft()
            try:
                yield from future.result()
            except BrokenProcessPool:  # a process died, which takes the others along
                pool.shutdown(wait=False, cancel_futures=True)
                yield from (_alone(convert, name) for name in chunk)
                pool = _pool(workers)
                waiting = deque((c, pool.submit(convert, c)) for c, _ in waiting)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _alone(convert, name):
    """The result of one file in a process of its own, which it may kill."""
    with _pool(1) as pool:
        try:
            return pool.submit(convert, [name]).result()[0]
        except BrokenProcessPool:
            return "kills the process that reads it"


def _pool(workers):
    # Ctrl-C goes to all processes of a terminal; this one ends the others.
    return ProcessPoolExecutor(
        workers, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    )


def _chunks(files):
    chunk = []
    for name in files:
        chunk.append(name)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _convert(source, size, transform, channels, names):
    """`_results` of a few files, in whatever process."""
    results = []
    for name in names:
        try:
            image = decode.open_image(source.read(name), name)
            if transform is None and (image.height, image.width) != size:
                results.append(f"{image.width}x{image.height} px, not {px(size)}")
                continue
            pixels = decode.to_pixels(image, channels, size, transform and TRANSFORMS[transform])
            digest = hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
            small = image.width < size[1] or image.height < size[0]
            results.append((_png(pixels), digest, small))
        except (UserError, ValueError, OSError, MemoryError) as e:
            results.append(reason_for(e, name))
    return results


def _png(pixels):
    array = pixels.transpose(1, 2, 0)
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _center_crop_wide(image, size):
    """The middle in the wide shape of size, on a black square of its width."""
    return _on_canvas(decode.center_crop(image, size), (size[1], size[1]))


def _fit(image, size):
    """The whole image, stretched to size."""
    return image.resize((size[1], size[0]), Image.Resampling.LANCZOS)


def _pad(image, size):
    """The whole image, as large as it goes into size, on black (on nothing, if RGBA)."""
    scale = min(size[1] / image.width, size[0] / image.height)
    width, height = (max(round(scale * n), 1) for n in image.size)
    return _on_canvas(image.resize((width, height), Image.Resampling.LANCZOS), size)


def _on_canvas(image, size):
    canvas = Image.new(image.mode, (size[1], size[0]))
    canvas.paste(image, ((size[1] - image.width) // 2, (size[0] - image.height) // 2))
    return canvas


TRANSFORMS = {
    "center-crop": decode.center_crop,
    "center-crop-wide": _center_crop_wide,
    "fit": _fit,
    "pad": _pad,
}


@contextmanager
def _target(dest):
    """A zip or a folder to write to, which appears as `dest` at the end if all went well."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    for folder in (dest.parent, dest):
        remove_partial(folder, partial_pattern(dest))
    if dest.suffix.lower() == ".zip" and not dest.is_dir():
        with whole_file(dest) as part, _Zip(part) as target:
            yield target
    else:
        with whole_folder(dest, overwrite=True, marker=FILE) as part:
            yield _Folder(part)


class _Zip:
    """A zip archive to write into; PNG is compressed already."""

    def __init__(self, path):
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)

    def write(self, name, data):
        entry = zipfile.ZipInfo(name)  # of a fixed date: the same images give the same archive
        entry.external_attr = 0o644 << 16
        self._zip.writestr(entry, data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._zip.close()


class _Folder:
    """A folder to write into."""

    def __init__(self, path):
        self._path = path

    def write(self, name, data):
        path = self._path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


def _check(source, dest, overwrite):
    """Raises: UserError if dest is not a place to write to."""
    here, there = source.resolve(), dest.resolve()
    if here in (there, *there.parents):
        raise UserError(dest, f"lies in the source; choose a place outside of {source}")
    if there in here.parents and there.exists() and overwrite:
        raise UserError(dest, f"holds the source, {source}, and is not replaced")
    if not dest.exists() or dest.is_dir() and not any(dest.iterdir()):
        return
    if not overwrite:
        raise UserError(dest, "is there already; --overwrite replaces it")
    if dest.is_dir() and not (dest / FILE).is_file():
        raise UserError(dest, f"is a folder without {FILE}, not a data set; not replaced")
    if dest.is_file() and not (dest.suffix.lower() == ".zip" and zipfile.is_zipfile(dest)):
        raise UserError(dest, "is no zip archive; not replaced")
