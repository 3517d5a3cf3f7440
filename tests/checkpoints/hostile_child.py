# SPDX-License-Identifier: Apache-2.0
"""Opens every file of hostile.py and its sequels in the working directory, under an audit hook.

One process for all, since starting one takes longer than all of them. Writes to the file in its
argument, as JSON, {name: {entry: what came of it}}.
"""

import codecs
import json
import sys
import time
from pathlib import Path

import stylegan
from checkpoints import (
    hostile,
    hostile_files,  # noqa: F401  registers more
    hostile_sizes,  # noqa: F401
)
from stylegan.checkpoints.open import open_checkpoint

# What running something begins with, by the name of Python's audit event.
RUNS = ("exec", "compile", "import", "marshal.", "pickle.", "code.__new__", "os.", "subprocess.",
        "socket.", "ctypes.", "shutil.", "webbrowser.", "pty.", "function.__new__")  # fmt: skip
HARMLESS = ("os.listdir", "os.scandir")
ENTRIES = {"load_networks": stylegan.load_networks, "open_checkpoint": open_checkpoint}
STATUS = Path("/proc/self/status")


class Watch:
    """An audit hook; `events` is what was run while `on`."""

    def __init__(self):
        self.on, self.events = False, []
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        """Called by Python for every event."""
        if not self.on or event in HARMLESS:
            return
        if event.startswith(RUNS) or event == "open" and set(str(arguments[1])) & set("wax+"):
            self.events.append(f"{event} {str(arguments)[:100]}")


def peak_mb():
    """The most memory that this process took since the last `forget_peak`; 0 if unknown."""
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return found[0] / 1024 if found else 0


def forget_peak():
    """Begin anew with the memory that is taken now."""
    if STATUS.is_file():
        Path("/proc/self/clear_refs").write_text("5")


def judge(entry, path, watch):
    """What came of one file; seconds are of work, since other programs run beside this one."""
    forget_peak()
    before, begun = peak_mb(), time.thread_time()
    watch.on, error = True, None
    try:
        entry(path)
    except BaseException as e:
        error = e
    watch.on = False
    seconds, mb = time.thread_time() - begun, peak_mb() - before
    events, watch.events = watch.events, []
    return dict(
        error=type(error).__name__,
        message=str(error),
        seconds=seconds,
        mb=mb,
        events=events + ["the canary"] * Path(hostile.CANARY).exists(),
    )


def main(out):
    """All of them."""
    watch, results = Watch(), {}
    for fixture in hostile.FIXTURES.glob("*.p[kt]*"):  # what is imported late is imported now
        networks = stylegan.load_networks(fixture)
        assert networks.G_ema is not None, fixture
    codecs.lookup("cp437")  # of names in a zip
    for name, build in hostile.ATTACKS.items():
        attack, path = build(), Path("hostile.pkl")
        path.write_bytes(attack.data)
        of_it = dict(says=attack.says, at=attack.at, part=attack.part)
        del attack
        results[name] = {entry: judge(ENTRIES[entry], path, watch) for entry in ENTRIES}
        results[name]["expected"] = of_it
    Path(out).write_text(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1])
