# SPDX-License-Identifier: Apache-2.0
"""Where extensions are kept, which of them are taken, and damaged ones."""

import hashlib
import os
import shutil

import pytest
import torch
from support.builds import NO_COMPILER, NO_PREBUILT, change_meta, indented, use
from support.cases import by_tier
from support.native import needs_native, run_in_new_process

from stylegan_ops.build import cache


def test_no_home_and_no_name(monkeypatch, tmp_path):
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(cache.os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path))
    assert cache.folder() == tmp_path / f"stylegan_ops-{os.getuid()}"


def test_a_folder_that_others_can_write_is_not_trusted(monkeypatch, tmp_path):
    monkeypatch.setenv(cache.VARIABLE, "/dev/null/cache")
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path))
    private = cache.folder()
    private.chmod(0o777)
    with pytest.raises(cache.Unwritable):
        cache.folder()
    private.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    private.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(cache.Unwritable):
        cache.folder()


def test_unwritable_home_and_cache(built, tmp_path, monkeypatch):
    """The next place is a private folder for temporary files; what is there is found."""
    monkeypatch.setenv(cache.VARIABLE, "/dev/null/cache")
    monkeypatch.setenv("HOME", "/dev/null/home")
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path))
    private = tmp_path / f"stylegan_ops-{os.getuid()}"
    assert cache.folder() == private
    assert private.stat().st_mode & 0o077 == 0
    shutil.rmtree(private)
    shutil.copytree(built, private)
    assert use("/dev/null/c", "native", HOME="/dev/null/h", TMPDIR=str(tmp_path)) == []
    monkeypatch.setattr(cache.tempfile, "tempdir", "/dev/null")
    with pytest.raises(cache.Unwritable, match="no folder for a cache can be written"):
        cache.folder()


def test_nowhere_to_write_is_one_line():
    before = NO_PREBUILT + "b.tempfile.tempdir = '/dev/null'\n"
    said = use("/dev/null/cache", "reference", before=indented(before))
    assert len(said) == 1 and "no folder for a cache can be written: /dev/null/cache, " in said[0]


@needs_native
@pytest.mark.thorough
@pytest.mark.parametrize("harm", ["truncated", "foreign"])
def test_a_bad_binary_is_built_again(built, harm, compiler):
    (library,) = built.glob("cpu-*/*.so")
    if harm == "truncated":  # loading it would kill the process
        os.truncate(library, library.stat().st_size // 2)
    else:
        library.write_bytes(b"\x7fELF" + bytes(1000))
        change_meta(built, sha256=hashlib.sha256(library.read_bytes()).hexdigest())
    said = use(built, "native", before=indented(NO_PREBUILT), CXX=str(compiler))
    assert len(said) == 3 and "is damaged; building the cpu kernels again" in said[0]
    assert use(built, "native", before=indented(NO_PREBUILT)) == []


@pytest.mark.thorough
@needs_native
def test_a_bad_binary_and_no_compiler(built):
    (library,) = built.glob("cpu-*/*.so")
    os.truncate(library, 5000)
    said = use(built, "reference", before=indented(NO_COMPILER))
    assert len(said) == 1 and "is damaged, and there is no C++ compiler" in said[0]


@needs_native
def test_a_binary_of_an_older_torch(built):
    """It is not taken for the new torch's own, but where nothing can be built, it serves."""
    older = ".".join(str(v - 1) if i else str(v) for i, v in enumerate(_version(torch.__version__)))
    change_meta(built, torch=older)
    assert _found("cpu", built) is None
    said = use(built, "native", before=indented(NO_COMPILER))
    assert len(said) == 1 and said[0].endswith(f"Using those of torch {older}")
    assert "there is no C++ compiler (fix: install one)." in said[0]
    change_meta(built, torch="9.9")  # one of a newer torch does not
    assert len(use(built, "reference", before=indented(NO_COMPILER))) == 1


@needs_native
@by_tier("key", quick=["source"], thorough=["python", "cpu"])
def test_a_binary_for_something_else_is_not_taken(built, key):
    assert _found("cpu", built)
    change_meta(built, **{key: "another"})
    assert _found("cpu", built) is None


def _found(device, folder):
    code = f"{NO_PREBUILT}print(next(b.find({device!r}), None))"
    out, _ = run_in_new_process(code, {**os.environ, cache.VARIABLE: str(folder)})
    return None if out.strip() == "None" else out


def _version(text):
    return [int(part) for part in text.split(".")[:2]]


def test_clean_leaves_what_is_not_ours(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    for name in ("cpu-0123456789abcdef/meta.json", "cuda-0123456789abcdef.tmp-x/a.o", "mine/cpu"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("12345")
    (tmp_path / "cpu-0123456789abcdef.log").write_text("12345")
    assert cache.clean() == (tmp_path, 15)
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".lock") == ["mine"]
