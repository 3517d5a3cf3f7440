# SPDX-License-Identifier: Apache-2.0
import errno
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from support.processes import usual_signals

from stylegan.errors import SnapshotError, UserError, reason_for
from stylegan.files import remove_partial, whole_file, whole_folder


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_appears_at_the_end(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("old")
    with whole_file(path) as part:
        assert part.suffix == ".png" and part.parent == tmp_path and part.exists()
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and names(tmp_path) == ["a.png"]


def test_the_mode_is_what_any_new_file_has(tmp_path):
    (tmp_path / "usual").touch()
    with whole_file(tmp_path / "private", fsync=True) as part:
        part.write_text("x")
        part.chmod(0o600)
    modes = {(tmp_path / name).stat().st_mode for name in ("usual", "private")}
    assert len(modes) == 1


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_an_error_leaves_nothing(tmp_path, error):
    (tmp_path / "old").write_text("old")
    with pytest.raises(type(error)), whole_file(tmp_path / "old") as part:
        part.write_text("half")
        raise error
    with pytest.raises(type(error)), whole_folder(tmp_path / "folder") as part:
        (part / "file").write_text("half")
        raise error
    assert names(tmp_path) == ["old"] and (tmp_path / "old").read_text() == "old"


def test_links_are_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    with whole_file(tmp_path / "link") as part:
        part.write_text("x")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there/file").read_text() == "x"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
@pytest.mark.parametrize("target", ["folder", "fifo", "no/folder"])
def test_what_cannot_be_written_shows_at_once(tmp_path, target):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError) as e, whole_file(tmp_path / target):
        pytest.fail("the block ran")
    assert e.value.filename == str(tmp_path / target) and e.value.strerror
    assert names(tmp_path) == ["fifo", "folder"] and names(tmp_path / "folder") == []


def test_a_full_disk_names_the_file_and_other_errors_pass(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(OSError) as e, whole_file(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (e.value.errno, e.value.filename) == (errno.ENOSPC, str(path))
    with pytest.raises(OSError) as e, whole_file(path):
        open(tmp_path / "another").close()
    assert e.value.filename == str(tmp_path / "another")  # read, not written
    with pytest.raises(FileNotFoundError) as e, whole_file(path) as part:
        part.unlink()
        part.open("r+").close()
    assert e.value.filename == str(path)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB, where this process may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("cannot mount a file system here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)])  # an error's traceback may hold a file open


def test_a_full_disk_whatever_library_writes(small_disk):
    x = torch.zeros(1 << 16)
    for write in (
        lambda path: path.write_bytes(bytes(1 << 18)),
        lambda path: torch.save(x, path),
        lambda path: save_file({"x": x}, path),
    ):
        with pytest.raises(OSError) as e, whole_file(small_disk / "file") as part:
            write(part)
        assert (e.value.errno, e.value.filename) == (errno.ENOSPC, str(small_disk / "file"))
        with pytest.raises(OSError) as e, whole_folder(small_disk / "folder") as part:
            write(part / "inside")
        assert (e.value.errno, e.value.filename) == (errno.ENOSPC, str(small_disk / "folder"))
        assert names(small_disk) == []


def test_a_folder_that_exists(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    with whole_folder(path) as part:  # it is empty
        (part / "old").write_text("x")
    with pytest.raises(FileExistsError) as e, whole_folder(path):
        pytest.fail("the block ran")
    assert e.value.filename == str(path)
    before = path.stat().st_ino
    with whole_folder(path, overwrite=True) as part:
        (part / "new").write_text("x")
        assert (path / "old").exists()
    assert names(path) == ["new"] and path.stat().st_ino == before  # it may be a mount point
    with whole_folder(path, aside=tmp_path / "aside", fsync=True) as part:
        (part / "newer").write_text("x")
    assert names(path) == ["newer"] and names(tmp_path) == ["folder"]


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "folder"
    with pytest.raises(FileExistsError) as e, whole_folder(path) as part:
        (part / "mine").write_text("x")
        path.mkdir()
        (path / "theirs").write_text("x")
    assert e.value.filename == str(path)
    assert names(path) == ["theirs"] and names(tmp_path) == ["folder"]


def test_the_marker_is_never_beside_a_mixture(tmp_path, monkeypatch):
    path, states = tmp_path / "folder", []
    with whole_folder(path) as part:
        for name in ("a", "marker", "z"):
            (part / name).write_text("old")
    rename, unlink = os.rename, os.unlink

    def look(function):
        def run(*args, **kwargs):
            function(*args, **kwargs)
            states.append({p.name: p.read_text() for p in path.iterdir() if p.is_file()})

        return run

    monkeypatch.setattr(os, "rename", look(rename))
    monkeypatch.setattr(os, "unlink", look(unlink))
    with whole_folder(path, overwrite=True, marker="marker") as part:
        for name in ("b", "marker", "y"):
            (part / name).write_text("new")
    assert len(states) == 6 and states[-1] == dict.fromkeys(("b", "marker", "y"), "new")
    assert all("marker" not in state for state in states[:-1])


posix = pytest.mark.skipif(os.name != "posix", reason="signals")
PROGRAM = """
import sys, time
from stylegan.files import whole_file, whole_folder
with whole_folder(sys.argv[1] + "/folder") as folder, whole_file(sys.argv[1] + "/file"):
    (folder / "x").write_text("x")
    print("begun", flush=True)
    time.sleep(60)
"""


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_leaves_nothing(tmp_path, name):
    number = getattr(signal, name)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=usual_signals) as process:
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(number)
        assert process.wait(30) == -number  # as without the handler
    assert names(tmp_path) == []


FORKING = """
import multiprocessing, os, signal, sys, time
from stylegan.files import whole_file
fork = multiprocessing.get_context("fork")
running = fork.Event()
def wait():
    running.set()  # Python forgets a signal that comes while it forks
    for _ in range(600):
        time.sleep(0.05)
with whole_file(sys.argv[1]) as part:
    child = fork.Process(target=wait)
    child.start()
    running.wait(30)
    os.kill(child.pid, signal.SIGTERM)
    child.join(30)
    assert child.exitcode == -signal.SIGTERM, child.exitcode
    part.write_text("x")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_signal_to_a_forked_process_is_not_one_to_its_parent(tmp_path):
    path = tmp_path / "file"
    subprocess.run([sys.executable, "-c", FORKING, str(path)], check=True, timeout=60)
    assert path.read_text() == "x" and names(tmp_path) == ["file"]


def test_a_handler_of_the_program_stays(tmp_path):
    mine = lambda *_: None
    before = signal.signal(signal.SIGTERM, mine)
    try:
        with whole_file(tmp_path / "file"):
            assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
    with whole_file(tmp_path / "file"):
        assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, mine)
    assert signal.getsignal(signal.SIGTERM) == before


@posix
def test_what_a_killed_process_leaves_can_be_removed(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=usual_signals) as process:
        process.stdout.readline()
        process.kill()
    left = names(tmp_path)
    assert len(left) == 2 and all(name.startswith(".part-") for name in left)
    (tmp_path / ".part-1-my-file").touch()
    (tmp_path / ".part-of-a-song").touch()
    remove_partial(tmp_path, "file")
    assert len(names(tmp_path)) == 3
    (tmp_path / ".part-1-my-file").unlink()
    (tmp_path / ".part-of-a-song").unlink()
    assert names(tmp_path) == [name for name in left if name.endswith("-folder")]
    remove_partial(tmp_path)
    assert names(tmp_path) == []


def test_errors_keep_their_parts():
    import pickle

    e = pickle.loads(pickle.dumps(SnapshotError("a/b.png", "is damaged")))
    assert (type(e), e.subject, e.why) == (SnapshotError, "a/b.png", "is damaged")
    assert str(e) == "a/b.png: is damaged" and isinstance(e, (UserError, ValueError))
    assert reason_for(e, "a/b.png") == "is damaged"
    assert reason_for(e, "b.png") == "a/b.png: is damaged"
    assert reason_for(ValueError("two\n lines"), "b.png") == "two lines"
    assert reason_for(ValueError(), "b.png") == "ValueError"
