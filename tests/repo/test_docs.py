# SPDX-License-Identifier: Apache-2.0
"""What README.md and the pages of docs/ tell a reader exists and works."""

import importlib.util
import json
import re
import shlex
import shutil

import click
import pytest
from click.testing import CliRunner
from PIL import Image
from support.docs import (
    KINDS,
    NEEDS,
    NOT_RUN,
    PICTURE,
    ROOT,
    Block,
    Playground,
    blocks,
    broken,
    build_site,
    check_command,
    links,
    make_pictures,
    name_of,
    pages,
    prepare,
)

PAGES = pages()
FIRST = ("README.md", "docs/index.md", "docs/install.md")  # run in the quick tier
MAX_NOT_RUN = 5  # blocks that cannot run here


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder)
    return folder


@pytest.fixture
def playground(prepared, tmp_path):
    folder = tmp_path / "playground"
    shutil.copytree(prepared, folder)
    # The runs know where their data is.
    for run in folder.glob("runs/*/run.json"):
        there, here = (json.dumps(str(p))[1:-1] for p in (prepared, folder))
        run.write_text(run.read_text("utf-8").replace(there, here), "utf-8")
    return Playground(folder)


def runs_here(block):
    return not any(note.startswith("not run") for note in block.notes)


def test_there_is_something_to_check():
    found = [block for page in PAGES for block in blocks(page)]
    assert sum(block.kind == "sh" for block in found) > 20
    assert sum(block.kind == "python" for block in found) > 10
    assert len(PAGES) > 15


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_pictures_exist(page):
    text = page.read_text("utf-8")
    problems = [f"{target}: {why}" for target in links(text) if (why := broken(page, target))]
    assert problems == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_are_of_a_kind_that_is_tested(page):
    for block in blocks(page):
        assert block.kind in KINDS, f"{name_of(page)}:{block.line}: {block.kind!r}"


def test_few_blocks_are_not_run():
    notes = [
        note
        for page in PAGES
        for block in blocks(page)
        for note in block.notes
        if note.startswith("not run")
    ]
    assert len(notes) <= MAX_NOT_RUN and set(notes) <= NOT_RUN


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, id=name_of(p), marks=() if name_of(p) in FIRST else pytest.mark.thorough)
        for p in PAGES
        if blocks(p)
    ],
)
def test_blocks_run(page, playground):
    """The blocks of a page run in its order, in one folder."""
    previous = None
    for block in blocks(page):
        if not runs_here(block):
            for words in block.commands if block.kind == "sh" else []:
                check_command(words)
        elif block.kind in ("sh", "python"):
            playground.run_block(block)
            for picture in filter(None, map(PICTURE.fullmatch, block.notes)):
                source = picture["source"]
                assert list(playground.folder.glob(source)), f"{block.line}: no {source}"
        elif block.kind == "text" and previous and previous.kind == "sh":
            if _is_right_below(block, previous):
                playground.check_output(block)
        previous = block


def _is_right_below(block, previous):
    return block.line - (previous.line + previous.text.count("\n")) <= 4


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_text_exist(page):
    """`stylegan ...` in a sentence or a table."""
    text = re.sub(r"^\s*```.*?^\s*```", "", page.read_text("utf-8"), flags=re.S | re.M)
    for command in re.findall(r"`(stylegan [^`\n]*)`", text):
        words = shlex.split(command.replace("\\|", "|"))
        if words[1].isupper() or "..." in words:  # `stylegan COMMAND --help`
            continue
        try:
            check_command(words)
        except (click.MissingParameter, click.BadOptionUsage):
            # `stylegan dataset`, or `stylegan dataset --transform`: just the name
            assert len(words) == 2 or words[2].startswith("-")
        except click.UsageError as e:
            pytest.fail(f"{command}: {e.format_message()}")


def test_wrong_commands_would_be_found():
    for wrong in ("stylegan train --colour red", "python benchmarks/bench_generator.py --colour"):
        with pytest.raises(click.UsageError):
            check_command(wrong.split())
    for wrong in (
        "stylegan paint",
        "python benchmarks/nothing.py",
        "pip install .[nothing]",
        "pip install stylegam[video]",
        "pytest tests/nothing/test_x.py",
        "pytest -m nothing",
        "bash nothing.sh",
        "rm -rf /",
    ):
        with pytest.raises(AssertionError):
            check_command(wrong.split())


def test_wrong_links_would_be_found():
    page = ROOT / "docs" / "index.md"
    assert links("[a](x.md) ![b](y.png 'z') `[c](d)`\n```sh\n[e](f)\n```") == ["x.md", "y.png"]
    for wrong in ("no.md", "install.md#no", "#no", "../../outside", "http://a.org", "https://a"):
        assert broken(page, wrong)
    for good in (
        "install.md#the-kernels",
        "#two-commands",
        "https://pytorch.org/get",
        "../README.md",
    ):
        assert broken(page, good) is None


def test_wrong_blocks_would_be_found(playground):
    page = ROOT / "README.md"
    with pytest.raises(AssertionError, match="README.md:7: .* exits with 2"):
        playground.run_block(Block(page, 7, "sh", "stylegan info nothing.zip\n", ()))
    with pytest.raises(NameError):
        playground.run_block(Block(page, 7, "python", "nothing\n", ()))
    playground.run_block(Block(page, 7, "sh", "stylegan info photos.zip\n", ()))
    playground.check_output(Block(page, 9, "text", "images    1000\n", ()))
    with pytest.raises(AssertionError, match="'pictures' is not in"):
        playground.check_output(Block(page, 9, "text", "pictures  24\n", ()))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pictures_are_made_by_commands(page):
    for block in blocks(page):
        notes = [note for note in block.notes if note.startswith("picture")]
        for note in notes:
            picture = PICTURE.fullmatch(note)
            assert picture or NEEDS.fullmatch(note), note
            assert picture is None or picture["name"].startswith("images/")
        assert not notes or all(words[0] == "stylegan" for words in block.commands)


@pytest.mark.thorough
def test_the_script_makes_a_picture(playground, tmp_path):
    """What the picture needs is there already."""
    args = ["--work", str(playground.folder), "--out", str(tmp_path), "--quick", "--only", "mix"]
    result = CliRunner().invoke(make_pictures, args)
    assert result.exit_code == 0, result.output
    made, drawn = (
        Image.open(p) for p in (tmp_path / "images/mix.png", playground.folder / "mix.png")
    )
    assert made.size == drawn.size and drawn.width > 128


@pytest.mark.thorough
@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_builds(tmp_path):
    build_site(tmp_path / "site")
    assert "Usage: stylegan train" in (tmp_path / "site/cli/index.html").read_text("utf-8")
    assert "upfirdn2d" in (tmp_path / "site/api/index.html").read_text("utf-8")
