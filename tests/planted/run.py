# SPDX-License-Identifier: Apache-2.0
"""Do the tests find faults? Each fault of faults.toml is planted in a copy of the sources, and its
tests run on that: python tests/planted/run.py [--marks "quick or thorough"] [--only WORD]"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
FAULTS = Path(__file__).with_name("faults.toml")
TIMEOUT_S = 900
COPIED = ("stylegan", "stylegan_ops", "csrc", "tests", "benchmarks", "pyproject.toml", "README.md")


def planted(fault, source):
    """The text of a source with the fault in it.

    Raises: ValueError if what it replaces is not there exactly once.
    """
    count = source.count(fault["find"])
    if count != 1:
        raise ValueError(f"{fault['file']} has {fault['find']!r} {count} times")
    return source.replace(fault["find"], fault["replace"])


def copy_sources(folder):
    ignore = shutil.ignore_patterns("__pycache__", "_native", "*.egg-info")
    for name in COPIED:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=ignore)
        else:
            shutil.copy(path, folder / name)


def first_failure(folder, tests, marks):
    """(name of the first test that fails or None, seconds) of the tests, in the copy."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    env = {**os.environ, "PYTHONPATH": str(folder), "STYLEGAN_OPS_CACHE": str(folder / "cache")}
    start = time.monotonic()
    command += ["-m", marks, *tests]
    try:
        run = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return "a test that does not end", TIMEOUT_S
    if run.returncode not in (0, 1):  # 1: tests failed
        raise click.ClickException(run.stdout[-2000:] + run.stderr[-2000:])
    if "error: " in run.stdout or "Error building" in run.stdout:
        raise click.ClickException(f"the fault does not compile?\n{run.stdout[-2000:]}")
    failed = re.search(r"^(?:FAILED|ERROR) (.+)", run.stdout, re.M)
    if run.returncode and not failed:
        raise click.ClickException(run.stdout[-2000:])
    return failed and failed[1], time.monotonic() - start


@click.command()
@click.option("--marks", default="quick", help="Which tests run, as of `pytest -m`.")
@click.option("--only", default="", help="Faults whose file or tests have this in their name.")
@click.option("--skip-clean", is_flag=True, help="Do not run the tests without a fault first.")
def main(marks, only, skip_clean):
    """Plant one fault after the other and print which test finds it. Exit code 1 if none does."""
    faults = [f for f in tomllib.loads(FAULTS.read_text("utf-8"))["fault"] if only in str(f)]
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_sources(folder)
        clean = sorted({test for fault in faults for test in fault["tests"]})
        failed, time_s = (None, 0) if skip_clean else first_failure(folder, clean, marks)
        if failed:
            raise click.ClickException(f"without any fault {failed} fails")
        print(f"no fault: all pass, {time_s:.0f} s", flush=True)
        for fault in faults:
            path = folder / fault["file"]
            source = path.read_text("utf-8")
            path.write_text(planted(fault, source), "utf-8")
            failed, time_s = first_failure(folder, fault["tests"], marks)
            path.write_text(source, "utf-8")
            missed += failed is None
            what = f"{fault['file']}: {fault['find']} -> {fault['replace']}"
            print(f"{'found ' if failed else 'MISSED'} {time_s:4.0f} s  {what}", flush=True)
            print(f"       {failed or ''}", flush=True)
    print(f"{len(faults) - missed} of {len(faults)} faults found")
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
