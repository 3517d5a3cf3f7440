# SPDX-License-Identifier: Apache-2.0
"""Which CUDA toolkit is found, and what it compiles for."""

import os
import shutil
from pathlib import Path

import pytest
import torch

import stylegan_ops
from stylegan_ops.build import build, cache, cuda_tools, tools


def fake_nvcc(home, version, body=""):
    nvcc = home / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(
        "#!/bin/sh\n"
        f'case "$1" in --version) echo "Cuda compilation tools, release {version}, V9";;\n'
        f'--dryrun) echo "#$ TOP={home}" >&2;;\n'
        f"*) {body or 'exit 0'};; esac\n"
    )
    nvcc.chmod(0o755)
    return home


@pytest.fixture
def cuda_home(monkeypatch):
    """Sets CUDA_HOME for this process, and forgets what was found before."""

    def set_home(home):
        monkeypatch.setenv("CUDA_HOME", str(home))
        cuda_tools._cuda_homes.cache_clear()

    yield set_home
    monkeypatch.undo()
    cuda_tools._cuda_homes.cache_clear()


def reason_without_cuda(monkeypatch, torch_cuda="13.0"):
    """Why there would be no CUDA library with a torch for that CUDA."""
    monkeypatch.setattr(torch.version, "cuda", torch_cuda)
    monkeypatch.setattr(cache, "PREBUILT", Path("/nowhere"))
    extension = build.load("cuda")
    assert extension.module is None and "\n" not in extension.reason
    return extension.reason


def test_nvcc_of_another_major_version(tmp_path, monkeypatch, cuda_home):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    cuda_home(fake_nvcc(tmp_path / "cuda", "11.8"))
    monkeypatch.setattr(cuda_tools, "_candidates", lambda: [tmp_path / "cuda" / "bin" / "nvcc"])
    reason = reason_without_cuda(monkeypatch)
    assert "is of CUDA 11.8, torch of CUDA 13.0" in reason and "(fix: " in reason


def test_nvcc_without_headers(tmp_path, monkeypatch, cuda_home):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    said = "echo 'cc1plus: fatal error: cuda_runtime.h: No such file or directory' >&2; exit 1"
    cuda_home(fake_nvcc(tmp_path / "cuda", "13.0", said))
    reason = reason_without_cuda(monkeypatch)
    assert "does not work: its header cuda_runtime.h is missing (fix: reinstall" in reason


def test_nvcc_refuses_every_compiler(tmp_path, monkeypatch, cuda_home):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    said = "echo '#error -- unsupported GNU version! gcc versions later than 15 are not supported!'"
    cuda_home(fake_nvcc(tmp_path / "cuda", "13.0", f"{said} >&2; exit 1"))
    reason = reason_without_cuda(monkeypatch)
    assert "refuses the C++ compiler: unsupported GNU version!" in reason
    assert "NVCC_CCBIN" in reason


def test_torch_without_cuda(monkeypatch, tmp_path):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    assert "built without CUDA (fix: " in reason_without_cuda(monkeypatch, None)


def real_cuda():
    try:
        return cuda_tools.find_cuda_home()
    except tools.Missing:
        return None


needs_nvcc = pytest.mark.skipif(real_cuda() is None, reason="there is no CUDA toolkit")


@needs_nvcc
def test_a_refused_compiler_is_passed_over(tmp_path, monkeypatch):
    """The real nvcc, given a compiler that says that it is too new, and then one that is not."""
    new = tmp_path / "g++-99"
    new.write_text('#!/bin/sh\nexec g++ -U__GNUC__ -D__GNUC__=99 "$@"\n')
    new.chmod(0o755)
    monkeypatch.setenv("NVCC_CCBIN", str(new))
    compiler = cuda_tools.check_cuda(real_cuda()[1]).host_compiler
    assert compiler != str(new) and shutil.which(compiler)


@needs_nvcc
def test_a_real_nvcc_without_its_headers(tmp_path, monkeypatch, cuda_home):
    home, version = real_cuda()
    copy = tmp_path / "cuda"
    copy.mkdir()
    for part in home.iterdir():
        if part.name not in ("bin", "include", "targets"):
            (copy / part.name).symlink_to(part)
    (copy / "bin").mkdir()
    for tool in (home / "bin").iterdir():
        if tool.name.startswith("nvcc"):
            shutil.copy(tool, copy / "bin" / tool.name)
        else:
            (copy / "bin" / tool.name).symlink_to(tool)
    cuda_home(copy)
    with pytest.raises(tools.Missing, match=r"its header \S+\.h is missing"):
        cuda_tools.check_cuda(version)


@needs_nvcc
def test_the_toolkit_behind_a_wrapper_script(tmp_path, monkeypatch):
    home, version = real_cuda()
    wrapper = tmp_path / "bin" / "nvcc"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {home}/bin/nvcc "$@"\n')
    wrapper.chmod(0o755)
    assert cuda_tools.cuda_home_of(str(wrapper)) == home


@needs_nvcc
@pytest.mark.skipif(torch.version.cuda is None, reason="torch is a build without CUDA")
def test_the_cuda_library_links_and_imports(tmp_path):
    """On a machine without a GPU too: for the usual targets, with portable code."""
    reason = stylegan_ops.load("cuda")
    if reason and "major versions" in reason:
        pytest.skip(reason)
    assert reason is None
    info = stylegan_ops.build_info()["cuda"]
    assert info["targets"] and info["cuda"] == real_cuda()[1]
    if not torch.cuda.is_available() and "TORCH_CUDA_ARCH_LIST" not in os.environ:
        assert info["targets"] == "8.0 9.0+PTX 12.0"


def test_a_list_of_targets(monkeypatch):
    """Unknown ones are left out; one that leaves out this machine's GPU is refused beforehand."""
    known = "sm_80\nsm_86\nsm_90\nsm_90a\nsm_120\n"
    monkeypatch.setattr(cuda_tools, "ask", lambda *args, **kwargs: known)
    monkeypatch.setattr(cuda_tools, "gpus", lambda: [])
    home = Path("/cuda")
    assert cuda_tools.gpu_targets(home) == ("8.0", "9.0+PTX", "12.0")
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "6.0;9.0a 8.6+PTX;99.0")
    assert cuda_tools.gpu_targets(home) == ("9.0a", "8.6+PTX")
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "5.0")
    with pytest.raises(tools.Missing, match="names nothing for what nvcc"):
        cuda_tools.gpu_targets(home)
    monkeypatch.setattr(cuda_tools, "gpus", lambda: ["8.0"])
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "9.0")
    with pytest.raises(tools.Missing, match="names nothing for this GPU, 8.0"):
        cuda_tools.gpu_targets(home)
    monkeypatch.delenv("TORCH_CUDA_ARCH_LIST")
    assert cuda_tools.gpu_targets(home) == ("8.0",)
    monkeypatch.setattr(cuda_tools, "gpus", lambda: ["8.6", "13.0"])  # newer than this nvcc
    assert cuda_tools.gpu_targets(home) == ("8.6", "12.0+PTX")


def test_targets():
    runs = cuda_tools.runs_on
    assert runs(["8.0", "9.0+PTX", "12.0"], "8.9") and runs(["9.0+PTX"], "10.0")
    assert not runs(["8.0", "12.0"], "9.0") and not runs(["9.0"], "8.0") and not runs([], "9.0")
    assert runs(["9.0a"], "9.0") and not runs(["12.0"], "11.0")
    assert cuda_tools.gencode_flags(["8.6", "9.0+PTX"]) == [
        "-gencode=arch=compute_86,code=sm_86",
        "-gencode=arch=compute_90,code=sm_90",
        "-gencode=arch=compute_90,code=compute_90",
    ]
