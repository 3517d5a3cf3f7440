# SPDX-License-Identifier: Apache-2.0
"""Opens every file of hostile.py and of the modules that add to it, under an audit hook.

One process opens them all, since starting a process takes longer than all of them. It writes
{name: {entry: outcome}} as JSON to the file in its argument.
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
    hostile_objects,  # noqa: F401
    hostile_sharing,  # noqa: F401
    hostile_sizes,  # noqa: F401
)
from stylegan.checkpoints.open import open_checkpoint

# Beginnings of the names of audit events that show that something is run.
RUNS = ("exec", "compile", "import", "marshal.", "pickle.", "code.__new__", "os.", "subprocess.",
        "socket.", "ctypes.", "shutil.", "webbrowser.", "pty.", "function.__new__")  # fmt: skip
HARMLESS = ("os.listdir", "os.scandir")
ENTRIES = {"load_networks": stylegan.load_networks, "open_checkpoint": open_checkpoint}
STATUS = Path("/proc/self/status")


class Watch:
    """An audit hook. Attribute: events, what was run while `on`."""

    def __init__(self):
        self.on, self.events = False, []
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        """Called by Python for every audit event."""
        if not self.on or event in HARMLESS:
            return
        if event.startswith(RUNS) or event == "open" and set(str(arguments[1])) & set("wax+"):
            self.events.append(f"{event} {str(arguments)[:100]}")


def peak_mb():
    """Peak memory of this process since the last `forget_peak`; 0 if unknown."""
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return found[0] / 1024 if found else 0


def forget_peak():
    """Set the peak to the memory in use."""
    if STATUS.is_file():
        Path("/proc/self/clear_refs").write_text("5")


def judge(entry, path, watch):
    """The outcome of one file. Seconds are CPU time, since other programs run at the same time."""
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
    """Open all files."""
    watch, results = Watch(), {}
    for fixture in hostile.FIXTURES.glob("*.p[kt]*"):  # imports what is imported late
        networks = stylegan.load_networks(fixture)
        assert networks.G_ema is not None, fixture
    codecs.lookup("cp437")  # of names in a zip
    for name, build in hostile.ATTACKS.items():
        attack, path = build(), Path("hostile.pkl")
        path.write_bytes(attack.data)
        expected = dict(message=attack.message, at=attack.at, nested=attack.nested)
        del attack
        results[name] = {entry: judge(ENTRIES[entry], path, watch) for entry in ENTRIES}
        results[name]["expected"] = expected
    Path(out).write_text(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1])
