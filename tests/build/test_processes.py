# SPDX-License-Identifier: Apache-2.0
"""Several processes that build, and the end of one."""

import os
import signal
import subprocess
import sys
import time

import pytest
from support.builds import CXX, NO_PREBUILT, USE, indented, lines, use
from support.native import ROOT, needs_native

from stylegan_ops.build import cache


@needs_native
@pytest.mark.thorough
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


@pytest.mark.thorough
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


@pytest.mark.thorough
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
