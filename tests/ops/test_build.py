# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to a build, ops work and one line says what happened."""

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from native import ROOT, needs_native, run_in_new_process

import stylegan_ops
from stylegan_ops.build import build, cache, compile, cuda_tools, tools
from stylegan_ops.runtime import dispatch

# An op is called, and must be right; then what it ran on is printed.
USE = """
    import torch, stylegan_ops
    y = stylegan_ops.bias_act(torch.tensor([[-1.0, 2.0]]), act="lrelu", gain=1)
    assert torch.allclose(y, torch.tensor([[-0.2, 2.0]])), y
    print(stylegan_ops.info()["bias_act"]["cpu"]["backend"])
"""


CXX = shutil.which("c++") or shutil.which("g++")

# Compiles for real what it is first given; then the object is there. Waits while "hold" is there.
COMPILER = """#!/bin/sh
for word do
    case $before in -c) source=$word;; -o) object=$word;; esac
    case $word in -[DOfgm]*) flags="$flags $word";; esac
    before=$word
done
[ "$source" ] || exec {real} "$@"
while [ -e {folder}/hold ]; do sleep 0.1; done
kept={folder}/$(echo "${{source##*/}} $flags" | cksum | tr ' ' -).o
if [ ! -e "$kept" ]; then
    {real} "$@" && cp "$object" "$kept.$$" && mv "$kept.$$" "$kept"
else
    cp "$kept" "$object"
fi
"""


def lines(stderr):
    return [line for line in stderr.splitlines() if line.startswith("stylegan_ops")]


def use(folder, expected, path=(ROOT,), before="", **env):
    """Run USE in a new process with a cache of its own; returns its lines on stderr."""
    env = {**os.environ, cache.VARIABLE: str(folder), **env}
    out, err = run_in_new_process(before + USE, env, path)
    assert out.split() == [expected], out + err
    assert "Traceback" not in err
    return lines(err)


@pytest.fixture
def checkout(tmp_path):
    """A copy of the sources without anything built, in a folder with an awkward name."""
    folder = tmp_path / "Jörg's checkout"
    for name in ("stylegan_ops", "csrc"):
        ignore = shutil.ignore_patterns("_native", "__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    return folder


@pytest.fixture(scope="module")
def one_compiler(tmp_path_factory):
    """A C++ compiler that compiles nothing twice: building the library takes time only once."""
    script = tmp_path_factory.mktemp("compiler") / "c++"
    script.write_text(COMPILER.format(real=CXX, folder=shlex.quote(str(script.parent))))
    script.chmod(0o755)
    return script


@pytest.fixture
def compiler(one_compiler):
    hold = one_compiler.parent / "hold"
    hold.unlink(missing_ok=True)
    yield one_compiler
    hold.unlink(missing_ok=True)


@pytest.fixture
def built(tmp_path):
    """A cache with the CPU library that this process has loaded."""
    library = Path(dispatch._extensions["cpu"].module.__file__)
    folder = tmp_path / "cache"
    shutil.copytree(library.parent, folder / library.parent.name)
    return folder


def change_meta(folder, **values):
    (path,) = folder.glob("cpu-*/meta.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


NO_PREBUILT = "import stylegan_ops.build.cache as b; b.PREBUILT = b.Path('/nowhere')\n"
NO_COMPILER = NO_PREBUILT + (
    "import stylegan_ops.build.tools as t\n"
    "def missing(): raise t.Missing('there is no C++ compiler', 'install one')\n"
    "t.find_compiler = missing\n"
)


def indented(code):
    return "".join(f"    {line}\n" for line in code.splitlines())


# ---- what is missing


def test_no_compiler(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    said = use(tmp_path, "reference", before=indented(NO_PREBUILT), PATH=str(empty), CXX="")
    assert len(said) == 1 and "there is no C++ compiler (fix: " in said[0]


def test_no_ninja(tmp_path):
    before = (
        NO_PREBUILT
        + "import stylegan_ops.build.tools as t; t.shutil.which = lambda *a, **k: None\n"
    )
    said = use(tmp_path, "reference", before=indented(before))
    assert len(said) == 1 and "ninja is not installed (fix: " in said[0]
    assert "-m pip install ninja" in said[0]


def test_no_python_headers(tmp_path):
    before = NO_PREBUILT + "import sysconfig as s; s.get_path = lambda name: '/nowhere'\n"
    said = use(tmp_path, "reference", before=indented(before))
    assert len(said) == 1 and "Python's headers are not in /nowhere (fix: " in said[0]


def test_a_compiler_that_fails(tmp_path):
    """The cause is in the line, the log in a file, and the next process does not try again."""
    broken = tmp_path / "c++"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo c++ 99 && exit\n'
        "echo 'x.cpp:1:1: error: no luck today' >&2; exit 1\n"
    )
    broken.chmod(0o755)
    said = use(tmp_path, "reference", before=indented(NO_PREBUILT), CXX=str(broken))
    assert len(said) == 2 and "building the cpu kernels" in said[0]
    assert "error: no luck today; the whole log is " in said[1]
    log = Path(said[1].rsplit(" ", 1)[1])
    assert "no luck today" in log.read_text()
    start = time.monotonic()
    said = use(tmp_path, "reference", before=indented(NO_PREBUILT), CXX=str(broken))
    assert len(said) == 1 and "it failed like that before" in said[0]
    assert time.monotonic() - start < 30
    assert not list(tmp_path.glob("*.tmp-*"))


@needs_native
def test_a_compiler_with_arguments(tmp_path, compiler):
    """As in CXX="ccache g++"."""
    said = use(tmp_path, "native", before=indented(NO_PREBUILT), CXX=f"/usr/bin/env {compiler}")
    assert len(said) == 2
    (folder,) = tmp_path.glob("cpu-*/")
    assert folder.stat().st_mode & 0o777 == 0o755  # other users may load it


@needs_native
def test_an_interrupted_build_goes_on_the_next_time(tmp_path):
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n" + NO_PREBUILT
    code += "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "import stylegan_ops; stylegan_ops.load('cpu')"
    env = {**os.environ, cache.VARIABLE: str(tmp_path)}
    builder = subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*.tmp-*/build.ninja")):
        assert time.monotonic() < deadline and builder.poll() is None
        time.sleep(0.05)
    builder.send_signal(signal.SIGINT)
    _, err = builder.communicate(timeout=30)
    assert b"KeyboardInterrupt" in err and not list(tmp_path.glob("*.tmp-*"))
    assert not list(tmp_path.glob("*.failed")) and not list(tmp_path.glob("*/meta.json"))


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


def test_causes_are_found_in_what_compilers_say():
    explain = compile.explain
    assert explain("x\nsh: No space left on device\n") == "the disk is full"
    said = "FAILED: [code=127] a.o\n/usr/bin/env g++ -c a\n/bin/sh: 1: env g++: not found\n"
    assert "not found" in explain(said + "RuntimeError: Error building extension 'x'")
    assert explain("FAILED: a.o\ncc -c a\ncc: odd\nRuntimeError: Error building extension") == (
        "cc: odd"
    )
    assert explain("a.cu(3): error: no\nnvcc fatal: also") == "a.cu(3): error: no"


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


# ---- what is in the cache


@needs_native
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
    assert len(said) == 1 and f"were built for torch {older}: there is no C++" in said[0]
    change_meta(built, torch="9.9")  # one of a newer torch does not
    assert len(use(built, "reference", before=indented(NO_COMPILER))) == 1


@needs_native
@pytest.mark.parametrize("key", ["source", "python", "cpu"])
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


# ---- several processes, and the end of one


@needs_native
def test_eight_processes_build_once(checkout, tmp_path, compiler):
    """From a path with a space, a quote and a letter that is not ASCII, into another such path."""
    folder, hold = tmp_path / "Ü cache", compiler.parent / "hold"
    hold.touch()
    start = f"import sys; sys.path[:0] = [{str(checkout)!r}]\n"
    code = start + "\n".join(line.strip() for line in USE.splitlines())
    env = {**os.environ, cache.VARIABLE: str(folder), "OMP_NUM_THREADS": "1", "CXX": str(compiler)}
    files = [tmp_path / f"{i}.err" for i in range(8)]
    pipes = {"stdout": subprocess.PIPE, "text": True}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=env, stderr=file.open("w"), **pipes)
        for file in files
    ]
    deadline = time.monotonic() + 300
    while sum("waiting for " in file.read_text() for file in files) < 7:
        assert time.monotonic() < deadline and all(p.poll() is None for p in started)
        time.sleep(0.05)
    hold.unlink()
    results = [
        (process.communicate(timeout=600)[0], f.read_text()) for process, f in zip(started, files)
    ]
    assert all(out.split() == ["native"] for out, _ in results), results
    said = [line for _, err in results for line in lines(err)]
    assert sum("building the cpu kernels" in line for line in said) == 1
    waits = [line for line in said if "waiting for " in line]
    (builder,) = (p.pid for p, (_, err) in zip(started, results) if "building" in err)
    assert len(waits) == 7 and all(f"process {builder} on " in line for line in waits)
    assert not list(folder.glob("*.tmp-*"))


@needs_native
def test_a_builder_that_is_killed(tmp_path, compiler):
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n" + NO_PREBUILT
    code += "import stylegan_ops; stylegan_ops.load('cpu')"
    env = {**os.environ, cache.VARIABLE: str(tmp_path), "CXX": str(compiler)}
    hold = compiler.parent / "hold"
    hold.touch()
    builder = subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*.tmp-*/build.ninja")):
        assert time.monotonic() < deadline and builder.poll() is None
        time.sleep(0.05)
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    hold.unlink()
    assert not list(tmp_path.glob("*/meta.json"))
    said = use(tmp_path, "native", before=indented(NO_PREBUILT), CXX=str(compiler))
    assert [("building" in said[0]), ("built" in said[1])] == [True, True] and len(said) == 2
    assert not list(tmp_path.glob("*.tmp-*"))


@needs_native
def test_a_full_disk_is_one_line_and_not_held_against_the_tools(tmp_path, compiler):
    """Without optimisation, which would take time and come to the same end."""
    mount = ["unshare", "-rm", "sh", "-c"]
    if subprocess.run([*mount, f"mount -t tmpfs none {tmp_path}"], capture_output=True).returncode:
        pytest.skip("this system does not let users mount a small file system")
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n" + NO_PREBUILT
    code += "\n".join(line.strip() for line in USE.splitlines())
    script = f'mount -t tmpfs -o size=200k none "{tmp_path}" && exec "$0" -c "$1"'
    script += f'; ls "{tmp_path}"'
    quick = compiler.with_name("quick")
    quick.write_text(f'#!/bin/sh\nexec {CXX} "$@" -O0\n')
    quick.chmod(0o755)
    run = subprocess.run(
        [*mount, script.replace("exec ", ""), sys.executable, code],
        env={**os.environ, cache.VARIABLE: str(tmp_path), "CXX": str(quick)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    out, said = run.stdout.split(), lines(run.stderr)
    assert out[0] == "reference", run.stderr
    assert len(said) == 2 and ("disk is full" in said[1] or "No space left" in said[1]), said
    assert not any(name.endswith(".failed") or ".tmp-" in name for name in out)


# ---- CUDA's tools


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


# ---- import


def test_import_runs_no_compiler_and_is_quick():
    out, _ = run_in_new_process("""
        import sys, time, torch
        started = []
        sys.addaudithook(lambda name, _: started.append(1) if name == "subprocess.Popen" else 0)
        start = time.perf_counter()
        import stylegan_ops
        print(time.perf_counter() - start, len(started), "torch._dynamo" in sys.modules)
    """)
    seconds, started, compiler = out.split()
    assert float(seconds) < 0.1 and started == "0" and compiler == "False"


@needs_native
def test_overhead_of_a_call():
    x, b = torch.randn(1, 4, 2, 2, requires_grad=True), torch.zeros(4, requires_grad=True)

    def microseconds():
        start = time.perf_counter()
        for _ in range(1000):
            stylegan_ops.bias_act(x, b, act="lrelu", clamp=256)
        return (time.perf_counter() - start) * 1e3

    assert min(microseconds() for _ in range(20)) < 30
