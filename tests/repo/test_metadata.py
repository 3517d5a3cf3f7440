# SPDX-License-Identifier: Apache-2.0
"""pyproject.toml, CITATION.cff, CHANGELOG.md, the workflows and pre-commit say the same."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text("utf-8"))
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}
HOOKS = [
    hook
    for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    for hook in repo["hooks"]
]
MADE = ("dist/", "site", "runs", "out/", "_native/", "~", "/")  # made by workflows, or elsewhere
FILE_SUFFIXES = "cff|md|py|sh|toml|txt|ya?ml"


def python_versions(workflow):
    """Of all jobs, as text."""
    found = set()
    for job in WORKFLOWS[workflow]["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        rows = matrix.get("include", [])
        found |= {row["python"] for row in rows if "python" in row} | set(matrix.get("python", []))
        for step in job["steps"]:
            version = step.get("with", {}).get("python-version", "")
            found |= {version} if version[:1].isdigit() else set()
    return found


def paths_in(value):
    """Everything in the strings of a workflow that reads like a path in this repository."""
    if isinstance(value, dict):
        items = [v for k, v in value.items() if k not in ("uses", "name", "types")]
        return {path for item in items for path in paths_in(item)}
    if isinstance(value, list):
        return {path for item in value for path in paths_in(item)}
    if not isinstance(value, str):
        return set()
    text = re.sub(r"https?://\S+|refs/\S+|\$\{\{ *[\w.]+ *\}\}", "", value)
    words = re.findall(r"[\w.~/*-]+", text)
    named = rf"[\w.-]+\.({FILE_SUFFIXES})"
    return {
        word
        for word in words
        if not word.startswith(MADE) and ("/" in word or re.fullmatch(named, word))
    }


def extras_in(text):
    """Names of extras in commands, requirements and sentences."""
    names = re.findall(r"(?:stylegan|\.)\[(\w[\w, ]*)\]['\"`]", text)
    names += re.findall(r"\bextra [`\"](\w+)[`\"]", text)
    return {name.strip() for group in names for name in group.split(",")}


def version_in(requirements, package):
    """The exact version of a package in a list of requirements, or None."""
    found = [r.partition("==")[2] for r in requirements if r.partition("==")[0] == package]
    return found[0] if found else None


def test_versions_agree():
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    sections = re.findall(
        r"^## \[([\w.]+)\](?: - (?:unreleased|\d{4}-\d\d-\d\d))?$", changelog, re.M
    )
    assert CITATION["version"] == PROJECT["version"]
    assert PROJECT["version"] in sections and sections[0] in (PROJECT["version"], "Unreleased")


def test_licences_agree():
    assert CITATION["license"] == PROJECT["license"]
    for file in PROJECT["license-files"]:
        assert (ROOT / file).is_file(), file


def test_citation_has_what_its_format_requires():
    assert {"cff-version", "message", "title", "authors"} <= CITATION.keys()
    for paper in CITATION["references"]:
        (number,) = paper["identifiers"]
        assert paper["url"] == f"https://arxiv.org/abs/{number['value'].removeprefix('arXiv:')}"


def test_extras_that_text_names_exist():
    files = ["*.md", "stylegan/*.py", "stylegan_ops/*.py", "benchmarks/*", ".ci/run", ".github/*"]
    found = {}
    for file in tracked(*files):
        if file.suffix in (".md", ".py", ".sh", ".yml", ""):
            found |= {name: file for name in extras_in(file.read_text("utf-8"))}
    assert {"test", "video", "plot", "heif"} <= set(found)
    assert {name: file for name, file in found.items() if name not in EXTRAS} == {}


def test_extras_that_extras_name_exist():
    for requirements in EXTRAS.values():
        for requirement in requirements:
            assert extras_in(f"{requirement}'") <= set(EXTRAS)


def test_extras_are_found():
    text = "pip install -e '.[test]'; 'stylegan[video, plot]'; the extra `heif`; x.[y] and a[i]'"
    assert extras_in(text) == {"test", "video", "plot", "heif"}


def test_pythons_agree():
    """The classifiers are what is tested and what wheels are made for."""
    prefix = "Programming Language :: Python :: 3."
    listed = {f"3.{c.removeprefix(prefix)}" for c in PROJECT["classifiers"] if c.startswith(prefix)}
    oldest = min(listed, key=lambda version: int(version.split(".")[1]))
    assert python_versions("tests.yml") == python_versions("wheels.yml") == listed
    assert PROJECT["requires-python"] == f">={oldest}"
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    assert PYPROJECT["tool"]["mypy"]["python_version"] == oldest


def test_the_oldest_torch_is_tested_with_the_oldest_python():
    (torch,) = (r for r in PROJECT["dependencies"] if r.startswith("torch>"))
    rows = WORKFLOWS["tests.yml"]["jobs"]["linux"]["strategy"]["matrix"]["include"]
    assert rows[0]["torch"] == torch.removeprefix("torch>=") + ".*"
    assert PROJECT["requires-python"] == f">={rows[0]['python']}"
    assert {row["torch"] for row in rows[1:]} == {"newest"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_are_careful(name):
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/none@v1"))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_paths_in_workflows_exist(name):
    paths = paths_in(WORKFLOWS[name]["jobs"])
    assert "pyproject.toml" in paths
    assert {path for path in paths if not list(ROOT.glob(path))} == set()


def test_files_that_contributing_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    text = text.replace("csrc/<op>", "csrc/bias_act").replace(
        "tests/ops/<op>", "tests/ops/bias_act"
    )
    found = {
        w for w in re.findall(r"`([\w./*-]+)`", text) if "/" in w or w.endswith((".md", ".py"))
    }
    found |= set(re.findall(r"\]\(([\w./-]+)\)", text))
    homes = (
        "",
        "stylegan",
        "stylegan/checkpoints/rosinality",
        "tests/ops/bias_act",
    )  # of short names
    assert len(found) > 40
    assert {w for w in found if not any(list((ROOT / home).glob(w)) for home in homes)} == set()


def test_a_wrong_path_would_be_found():
    job = {"steps": [{"run": "python benchmarks/nothing.py > out/log"}, {"with": {"p": "a.toml"}}]}
    assert paths_in(job) == {"benchmarks/nothing.py", "a.toml"}


def test_extras_in_workflows_bring_what_they_run():
    for workflow in WORKFLOWS.values():
        for job in workflow["jobs"].values():
            text = "\n".join(step.get("run", "") for step in job["steps"])
            needed = {"pytest": "test", "pre-commit": "lint", "mkdocs": "docs"}
            for program, extra in needed.items():
                if re.search(rf"^(python -m )?{program} ", text, re.M):
                    assert extra in extras_in(text), program


def test_pre_commit_has_the_versions_of_dev():
    for package in ("ruff", "clang-format"):
        hooks = {
            v for h in HOOKS if (v := version_in(h.get("additional_dependencies", []), package))
        }
        assert hooks == {version_in(EXTRAS["dev"], package)}
    assert version_in(EXTRAS["lint"], "mypy")  # its hook runs in the environment


def test_every_hook_has_files():
    files = [str(file.relative_to(ROOT).as_posix()) for file in tracked()]
    for hook in HOOKS:
        assert any(re.search(hook.get("files", ""), file) for file in files), hook["id"]
    (pattern,) = (hook["files"] for hook in HOOKS if hook["id"] == "clang-format")
    sources = [f for f in files if f.endswith((".cpp", ".h", ".cu", ".cuh"))]
    assert [f for f in sources if not re.search(pattern, f)] == []


def tracked(*patterns):
    """Files of the repository, without those that git ignores. Skips outside of a checkout."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "--", *patterns]
    try:
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no git")
    if run.returncode != 0:
        pytest.skip("this is not a checkout")
    return [ROOT / line for line in run.stdout.splitlines() if (ROOT / line).is_file()]
