# SPDX-License-Identifier: Apache-2.0
"""Makes the pictures of the documentation again, by the commands that the pages show.

    python docs/pictures.py --work WORK                      # all, half an hour
    python docs/pictures.py --work WORK --only mix           # one of them
    python docs/pictures.py --work WORK --out OUT --quick    # tries the script in seconds

A comment right above a block of commands says what comes of it:

    <!-- picture: images/mix.png from mix.png -->    the file mix.png
    <!-- picture: images/sheet.webp from sheet.png -->    in another format
    <!-- picture: images/report.png from runs/*/report.html -->    a page, as chromium shows it
    <!-- picture: images/samples.png from samples/*.png -->    some of several files side by side
    <!-- picture needs: faces-run -->    not a picture, but needed for one

Commands run in the folder --work. What a "needs" block makes is kept there for the next time.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 1 << 20  # of a picture in the repository
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
STRIP = 4  # pictures side by side

PICTURE = re.compile(r"picture: (?P<name>\S+) from (?P<source>\S+)")
NEEDS = re.compile(r"picture needs: (?P<path>\S+)")

# Options that make a command short, in place of those that it has.
SHORT = {
    "train": "--kimg 0.008 --batch 4 --batch-gpu 4 --resolution 32 --channel-base 128 "
    "--channel-max 8 --z-dim 48 --w-dim 40",
    "metrics": "--samples 2",
    "spectra": "--images 4",
    "video": "--frames 2",
}
SHORT_STYLEGAN3 = "--num-layers 6"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int  # of its first line of text
    kind: str  # sh, python, text, ...
    text: str
    notes: tuple[str, ...]  # the HTML comments right above

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command; "&&" separates commands, a backslash continues a line."""
        lines = self.text.replace("\\\n", " ").splitlines()
        found: list[list[str]] = []
        for line in lines:
            found.append([])
            for word in shlex.split(line, comments=True):
                if word == "&&":
                    found.append([])
                else:
                    found[-1].append(word)
        return [words for words in found if words]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    found: list[Block] = []
    notes: list[str] = []
    inside: list[str] | None = None
    kind = ""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        fence = re.match(r"\s*```\s*(\S*)", line)
        if inside is not None:
            if fence:
                text = "\n".join(inside) + "\n"
                found.append(Block(page, number - len(inside), kind, text, tuple(notes)))
                inside, notes = None, []
            else:
                inside.append(line)
        elif fence:
            inside, kind = [], fence[1]
        else:
            note = re.fullmatch(r"\s*<!--\s*(.*?)\s*-->", line)
            notes = [*notes, note[1]] if note else []
    return found


def shortened(words: Sequence[str]) -> list[str]:
    """A command of `stylegan` that takes seconds."""
    name = words[1] if len(words) > 1 else ""
    extra = SHORT.get(name, "").split()
    if name == "train" and "--resume" in words and "auto" not in words:
        extra = ["--kimg", "0.024" if "--kimg" in words else "0.016"]
    elif name == "train" and any(word.startswith("stylegan3") for word in words):
        extra += SHORT_STYLEGAN3.split()
    if name == "video" and "--seconds" in words:
        extra = ["--seconds", "0.2"]
    kept, short = list(words), {word for word in extra if word.startswith("--")}
    for option in short.intersection(words):
        at = kept.index(option)
        del kept[at : at + 2]
    return [*kept, *extra]


def pages() -> list[Path]:
    """The pages in the order of the site."""
    names = re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8"))
    return [ROOT / "docs" / name for name in names]


def all_blocks() -> Iterator[Block]:
    """The blocks of all pages."""
    for page in pages():
        yield from blocks(page)


@click.command()
@click.option("--work", type=click.Path(file_okay=False), required=True, help="Folder to work in.")
@click.option("--only", help="Make only pictures whose name contains this.")
@click.option("--quick", is_flag=True, help="Train for seconds, to try this script.")
@click.option("--out", default=str(ROOT / "docs"), show_default=True, help="Folder of the result.")
def main(work: str, only: str | None, quick: bool, out: str) -> None:
    """Make the pictures of the documentation."""
    folder = Path(work)
    folder.mkdir(parents=True, exist_ok=True)
    found = list(all_blocks())
    for block in found:
        for need in filter(None, (NEEDS.fullmatch(note) for note in block.notes)):
            if only and not any(need["path"] in b.text and _wanted(b, only) for b in found):
                continue
            if not (folder / need["path"]).exists():
                _run(block, folder, quick)
            if not (folder / need["path"]).exists():
                raise click.ClickException(f"{_where(block)} did not make {need['path']}")
    for block in found:
        wanted = _wanted(block, only or "")
        if wanted:
            _run(block, folder, quick)
        for picture in wanted:
            target = Path(out) / picture["name"]
            target.parent.mkdir(parents=True, exist_ok=True)
            sources = sorted(folder.glob(picture["source"]))
            if not sources:
                raise click.ClickException(f"{_where(block)} did not make {picture['source']}")
            if _make(sources, target):
                click.echo(f"{target}: {target.stat().st_size / 1000:.0f} kB")
                if target.stat().st_size > MAX_BYTES:
                    raise click.ClickException(f"{target} has more than {MAX_BYTES >> 20} MiB")


def _wanted(block: Block, only: str) -> list[re.Match[str]]:
    """The pictures of a block whose name contains `only`."""
    found = map(PICTURE.fullmatch, block.notes)
    return [picture for picture in found if picture and only in picture["name"]]


def _run(block: Block, folder: Path, quick: bool) -> None:
    """Run the commands of a block."""
    for words in block.commands:
        if words[0] != "stylegan":
            raise click.ClickException(f"{_where(block)}: only `stylegan` can make pictures")
        words = shortened(words) if quick else words
        if words[1] in ("generate", "mix", "video", "spectra", "metrics", "info"):
            words = [*words, "--overwrite"]  # of the last time
        click.echo(f"$ {shlex.join(words)}")
        code = "from stylegan.cli.main import program; program()"
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *_python_path()])}
        subprocess.run([sys.executable, "-c", code, *words[1:]], cwd=folder, env=env, check=True)


def _python_path() -> list[str]:
    return [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]


def _where(block: Block) -> str:
    return f"{block.page.name}:{block.line}"


def _make(sources: Sequence[Path], target: Path) -> bool:
    """Make a picture of files. Returns: whether it was made."""
    if sources[0].suffix == ".html":
        return _screenshot(sources[0], target)
    if len(sources) == 1 and sources[0].suffix == target.suffix:
        shutil.copy(sources[0], target)
        return True
    last = len(sources) - 1
    picks = sorted({round(i * last / (STRIP - 1)) for i in range(STRIP)})
    images = [Image.open(sources[i]).convert("RGB") for i in picks]
    gap = 8 if len(images) > 1 else 0
    width = sum(image.width for image in images) + gap * (len(images) - 1)
    strip = Image.new("RGB", (width, max(image.height for image in images)), "white")
    x = 0
    for image in images:
        strip.paste(image, (x, 0))
        x += image.width + gap
    strip.save(target, optimize=True, quality=85)
    return True


def _screenshot(page: Path, target: Path) -> bool:
    """A picture of an HTML page. Without a browser the old picture stays."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        click.echo(f"{target}: not made, {' or '.join(BROWSERS)} is not installed", err=True)
        return False
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1200,1500"]
    options += ["--virtual-time-budget=5000", f"--screenshot={target.resolve()}"]
    subprocess.run([browser, *options, page.resolve().as_uri()], check=True, capture_output=True)
    return True


if __name__ == "__main__":
    main()
