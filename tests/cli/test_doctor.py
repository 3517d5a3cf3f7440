# SPDX-License-Identifier: Apache-2.0
import warnings

import pytest
import torch
from support.native import needs_native

import stylegan_ops
from stylegan.errors import UserError
from stylegan.training.setup import check_ops
from stylegan_ops import doctor
from stylegan_ops.build import cache, tools
from stylegan_ops.runtime import dispatch


@needs_native
def test_doctor_shows_tools_libraries_and_every_op(run):
    code, out, err = run("doctor")
    assert code == 0 and not err
    names = [line.split()[0] for line in out.splitlines() if line]
    for name in ("python", "torch", "compiler", "ninja", "headers", "CUDA", "GPU", "cache"):
        assert name in names
    assert "cpu kernels  " in out and "-march=" in out
    assert set(stylegan_ops.info()) <= set(names)
    (line,) = [li for li in out.splitlines() if li.startswith("bias_act ") and " cpu " in li]
    assert "native" in line and "against the reference" in line
    assert out.startswith("Everything works: compiled kernels for this CPU")
    for op in ("grid_sample", "tensor_core_layer"):
        (line,) = [li for li in out.splitlines() if li.startswith(op) and " cpu " in li]
        assert line.split(maxsplit=2)[2] == "not needed PyTorch's own operations do it"
    assert "reference  " not in out


def test_doctor_shows_how_to_fix_what_is_missing(run, monkeypatch, auto_backend):
    def missing():
        raise tools.Missing("there is no C++ compiler", "sudo apt-get install g++")

    monkeypatch.setattr(tools, "find_compiler", missing)
    monkeypatch.setattr(cache, "find", lambda *args, **kwargs: iter(()))
    monkeypatch.setattr(dispatch, "_extensions", {})
    code, out, err = run("doctor")
    assert code == 1 and not err
    assert "compiler     missing: there is no C++ compiler" in out
    assert "cpu kernels  none: there is no C++ compiler" in out
    assert "\nto fix:\n  compiler:    sudo apt-get install g++\n" in out
    assert out.startswith(
        "Works, but slowly on the CPU: there is no C++ compiler. To fix: sudo apt-get install g++\n"
    )


@needs_native
def test_doctor_finds_a_kernel_that_is_wrong(run, monkeypatch):
    monkeypatch.setattr(doctor, "bias_act", lambda x, b, **k: torch.tanh(x + b[:, None, None]))
    code, out, _ = run("doctor")
    assert code == 1 and "WRONG" in out
    assert out.startswith("Something is wrong: the kernel of bias_act on the CPU gives other")


def test_doctor_when_kernels_are_turned_off(run):
    with stylegan_ops.backend("reference"):
        code, out, _ = run("doctor")
    assert code == 0 and out.startswith("Works, but slowly: STYLEGAN_OPS=reference turns the")


@needs_native
def test_doctor_and_a_gpu_that_is_not_used(run, monkeypatch):
    def broken():
        warnings.warn("CUDA initialization: Error 804:\nforward compatibility", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", broken)
    code, out, err = run("doctor")
    assert (code, err) == (0, "") and out.startswith(
        "Works, but without the GPU: none that works: CUDA initialization: Error 804: forward "
        "compatibility. To fix: nvidia-smi: whether the driver works\n"
    )


def test_doctor_with_a_cache_that_cannot_be_written(run, monkeypatch):
    def unwritable():
        raise cache.Unwritable("no folder for a cache can be written: read-only")

    monkeypatch.setattr(cache, "folder", unwritable)
    _, out, _ = run("doctor")
    assert "Traceback" not in out and "cache        missing: " in out
    assert f"set {cache.VARIABLE} to a writable folder" in out


def test_doctor_clean(run, tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "cache" / "cpu-0123456789abcdef").mkdir(parents=True)
    (tmp_path / "cache" / "cpu-0123456789abcdef" / "x.so").write_bytes(bytes(10**6))
    code, out, _ = run("doctor", "--clean")
    assert code == 0 and out.strip().endswith("cache: 1.0 MB freed")
    assert [p.suffix for p in (tmp_path / "cache").iterdir()] == [".lock"]
    assert run("doctor", "--clean", "--what")[0] == 2


def test_training_on_a_gpu_without_kernels_is_refused(monkeypatch, auto_backend):
    missing = dispatch.Extension(None, "there is no CUDA toolkit (nvcc) (fix: install it)")
    monkeypatch.setattr(dispatch, "_extensions", {"cuda": missing})
    with pytest.raises(UserError, match="no CUDA kernels: there is no CUDA toolkit.*--ops ref"):
        check_ops(torch.device("cuda"))
    with stylegan_ops.backend("reference"):
        check_ops(torch.device("cuda"))
    check_ops(torch.device("mps"))  # has no kernels that could be missing


def test_training_without_kernels_says_so_in_its_header(run, monkeypatch):
    """On a CPU the reference is a fair choice; the line about it is in the header."""
    monkeypatch.setattr(dispatch, "_extensions", {"cpu": dispatch.Extension(None, "no compiler")})
    code, out, _ = run("train", "--dry-run", "--device", "cpu")
    (line,) = [li for li in out.splitlines() if li.startswith("ops")]
    why = "PyTorch's own operations, two to three times slower: no compiler; stylegan doctor"
    assert code == 0 and why in line
