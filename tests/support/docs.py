# SPDX-License-Identifier: Apache-2.0
"""The Markdown files of the project: their links, and running what they show."""

import gzip
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import unicodedata
import warnings
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
from click.testing import CliRunner
from PIL import Image

from stylegan.cli.main import program
from support.benchmarks import load_script

ROOT = Path(__file__).parents[2]
_pictures = load_script(ROOT / "docs" / "pictures.py")
Block, blocks, shortened = _pictures.Block, _pictures.blocks, _pictures.shortened
PICTURE, NEEDS, make_pictures = _pictures.PICTURE, _pictures.NEEDS, _pictures.main

KINDS = {"sh", "python", "text", "json", "bibtex", "cpp", "toml", "yaml"}  # the first two run
NOT_RUN = {
    "not run: needs a GPU",
    "not run: an example of a change",
    "not run: takes hours",
    "not run: needs lmdb or pyarrow",
}
# Words that are checked in other ways, or are other programs'.
CHECKED = {
    *("pip", "pytest", "bash", "git", "cd", "ruff", "mypy", "mkdocs", "pre-commit", "python"),
    *("python3", "clang-format", ".", "source", "export"),
}


def pages():
    """The Markdown files that users and contributors read."""
    roots = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [p for p in roots if p.is_file()] + sorted((ROOT / "docs").rglob("*.md"))


def name_of(page):
    return page.relative_to(ROOT).as_posix()


# Links


def prose(text):
    """A page without its blocks and inline code."""
    text = re.sub(r"^\s*```.*?^\s*```", "", text, flags=re.S | re.M)
    return re.sub(r"`[^`\n]*`", "code", text)


def links(text):
    """The targets of links and pictures."""
    return re.findall(r"\]\(\s*([^)\s]+)[^)]*\)", prose(text))


def anchors(page):
    """The anchors that a code forge and the site both give to a page's headings."""
    text = re.sub(r"^\s*```.*?^\s*```", "", page.read_text("utf-8"), flags=re.S | re.M)
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        forge = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
        site = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip())
        if forge == site:
            found.add(site)
    return found


def broken(page, target):
    """Why a link of a page leads nowhere, or None."""
    if re.match(r"[a-z]+:", target):
        good = re.fullmatch(r"(https://[\w.-]+\.[a-z]{2,}(/\S*)?|mailto:\S+@\S+)", target)
        return None if good else "not a well-formed https link"
    if match := re.fullmatch(r"\.\./\.\./actions/workflows/([\w-]+\.yml)(/badge\.svg)?", target):
        workflow = ROOT / ".github" / "workflows" / match[1]  # on the forge, beside blob/main
        return None if workflow.is_file() else "there is no such workflow"
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        return "there is no such file"
    if not file.is_relative_to(ROOT):
        return "leads out of the repository"
    if anchor and (file.suffix != ".md" or anchor not in anchors(file)):
        return "there is no such heading"
    return None


# Commands


def check_command(words):
    """Raises: click.UsageError or AssertionError for a command line that does not exist."""
    words = [w for w in words if not re.fullmatch(r"[A-Z_]+=.*", w)]
    word, *args = words
    if word == "stylegan":
        args = [a for a in args if a != "--debug"]
        if not args or args[0] in ("--help", "--version"):
            return
        command = program.get_command(click.Context(program), args[0])
        assert command is not None, f"stylegan has no command {args[0]}"
        try:
            command.make_context(args[0], args[1:]).close()
        except click.exceptions.Exit:  # --help
            pass
    elif word == "python" and args[0].endswith(".py"):
        script = ROOT / args[0]
        assert script.is_file(), f"{args[0]} does not exist"
        load_script(script).main.make_context(script.stem, args[1:]).close()
    elif word == "pip":
        _check_pip(args)
    elif word == "pytest":
        _check_pytest(args)
    elif word == "bash":
        assert (ROOT / args[0]).is_file(), f"{args[0]} does not exist"
    else:
        assert word in CHECKED or (ROOT / word).is_file(), f"unknown command {word}"


def _check_pip(args):
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    name = re.search(r'^name = "(.+)"', project, re.M)[1]
    extras = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    assert args[0] in ("install", "uninstall"), f"pip {args[0]}"
    for arg in args[1:]:
        match = re.fullmatch(r"(\.|[\w-]+)\[([\w,-]+)\]", arg)
        if match:
            assert match[1] in (".", name), f"{arg} is not this package"
            for extra in match[2].split(","):
                assert re.search(rf"^{extra} = ", extras, re.M), f"there is no extra {extra}"


def _check_pytest(args):
    known = (ROOT / "pyproject.toml").read_text("utf-8")
    for option, value in zip(args, args[1:] + [""]):
        if option == "-m":
            for mark in re.findall(r"\w+", value):
                assert mark in ("and", "or", "not") or f'"{mark}:' in known, f"no mark {mark}"
        elif not option.startswith("-") and "/" in option:
            assert (ROOT / option.partition("::")[0]).exists(), f"{option} does not exist"


# Running


def prepare(folder):
    """Fill a folder with what the pages speak of: photos, data sets, checkpoints, tiny runs."""
    rng = np.random.RandomState(0)
    for i in range(24):
        path = folder / "photos" / ("cat", "dog")[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.randint(0, 256, (40, 48, 3), dtype=np.uint8)).save(path)
    (folder / "photos" / "cat" / "broken.png").write_bytes(b"not a picture")
    _other_data(folder, rng)
    shutil.copy(ROOT / "tests" / "fixtures" / "sg2ada-64.pkl", folder / "ffhq.pkl")
    shutil.copy(ROOT / "tests" / "fixtures" / "rosinality-64.pt", folder / "ffhq.pt")
    playground = Playground(folder)
    playground.run("stylegan dataset photos photos.zip --resolution 32".split())
    train = "stylegan train --data photos.zip".split()
    for number, options in enumerate((["--mirror"], ["--cfg", "stylegan3-t"], ["--cond"])):
        playground.run([*train, *options])
        (folder / f"runs/{number:05d}-photos-32x32").rename(
            folder / f"runs/{number:05d}-photos-256x256"
        )
    playground.run("stylegan train --outdir faces-run".split())
    for number, cfg in enumerate(("demo", "stylegan3-r")):
        playground.run(["stylegan", "train", "--cfg", cfg, "--outdir", f"demo{number}"])
        (folder / f"demo{number}/00000-faces-64-32x32").rename(
            folder / f"runs/{number:05d}-faces-64-32x32"
        )


def _other_data(folder, rng):
    """Small data sets of the kinds that docs/other-data.md makes images of."""
    pixels = rng.randint(0, 256, (3, 8, 8), dtype=np.uint8)
    # A tf.train.Example of shape: int64 [3], packed, and data: bytes.
    shape = _message(18, _message(26, _message(10, b"\3\x08\x08")))
    data = _message(18, _message(10, _message(10, pixels.tobytes())))
    entries = ((b"shape", shape), (b"data", data))
    record = _message(10, b"".join(_message(10, _message(10, k) + v) for k, v in entries))
    head = struct.pack("<QI", len(record), 0)
    (folder / "train.tfrecords").write_bytes(2 * (head + record + bytes(4)))
    (folder / "cifar-10-batches-bin").mkdir()
    rows = rng.randint(0, 10, (4, 3073), dtype=np.uint8)
    rows.tofile(folder / "cifar-10-batches-bin" / "data_batch_1.bin")
    for name, axes in (("labels-idx1", (2,)), ("images-idx3", (2, 28, 28))):
        header = bytes((0, 0, 8, len(axes))) + struct.pack(f">{len(axes)}I", *axes)
        content = header + rng.randint(0, 10, axes, dtype=np.uint8).tobytes()
        (folder / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(content))
    np.save(folder / "images.npy", rng.randint(0, 256, (2, 16, 16, 3), dtype=np.uint8))
    (folder / "shards").mkdir()
    with tarfile.open(folder / "shards" / "000000.tar", "w") as archive:
        archive.add(folder / "photos" / "cat" / "00.png", "a.png")


def _message(tag, data):
    """A field of protocol buffers with fewer than 16384 bytes."""
    size = len(data)
    length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return bytes([tag]) + length + data


class Playground:
    """A folder in which the blocks of a page run, one after the other."""

    def __init__(self, folder):
        self.folder = folder
        self.names = {}  # of Python
        self.output = ""  # of the last block of commands

    def run_block(self, block):
        """Run a block of kind sh or python. Raises: AssertionError that names the line."""
        where = f"{name_of(block.page)}:{block.line}"
        if block.kind == "sh":
            self.output = "".join(self.run(words, where) for words in block.commands)
        else:
            with self._inside(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(compile("\n" * (block.line - 1) + block.text, where, "exec"), self.names)

    def run(self, words, where=""):
        """Run one command: `stylegan` really, with tiny networks; others are only checked.

        A command with a variable before it is only checked. Returns: what it printed.
        """
        check_command(words)
        # A variable may hold for the whole process, and for the tests after this one.
        if words[0] != "stylegan" or words[1:] == ["doctor", "--clean"]:
            return ""
        self._remove_outputs(words)
        with self._inside():
            result = CliRunner().invoke(program, shortened(words)[1:])
        text = result.stdout + result.stderr
        # doctor fails where there is no compiler, and says how to fix that
        good = result.exit_code == 0 or words[1] == "doctor" and "to fix:" in text
        assert good, f"{where}: {' '.join(words)} exits with {result.exit_code}:\n{text}"
        return text

    def check_output(self, block):
        """Compare the names at the start of the lines of a block with the last output.

        The values are of another machine or network.
        """
        for line in block.text.splitlines():
            name = re.split(r"  |: ", line.strip())[0]
            if name and "..." not in name and "/" not in name:
                where = f"{name_of(block.page)}:{block.line}"
                assert name in self.output, f"{where}: {name!r} is not in\n{self.output}"

    def _remove_outputs(self, words):
        """Commands that refuse to overwrite a file run as if it were not there."""
        if words[1] in ("dataset", "convert") and len(words) > 3:
            target = self.folder / words[3]
            if target.is_dir():
                shutil.rmtree(target)
            elif target.exists():
                target.unlink()

    @contextmanager
    def _inside(self):
        before = os.getcwd()
        os.chdir(self.folder)
        try:
            yield
        finally:
            os.chdir(before)


def build_site(folder):
    """`mkdocs build --strict` into a folder. Returns: what it printed, or raises AssertionError."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
