# SPDX-License-Identifier: Apache-2.0
"""What a run writes as it goes on, to a disk that may be full and a terminal that may be gone."""

import sys

from tqdm import tqdm

from stylegan.runs.log import RunLog
from stylegan.runs.report import write_report


class Record:
    """log.jsonl, report.html and lines on the terminal; none of them ends a run.

    Args:
        run_dir: the run's folder.
        logged, seen: up to where an earlier log counts, as of `RunLog`.
    """

    def __init__(self, run_dir, logged, seen):
        self.run_dir, self.log = run_dir, RunLog(run_dir, logged, seen)
        self._failing = set()
        self.stream = _Deaf(sys.stderr)

    def attempt(self, what, write):
        """What `write()` returns, or None where the disk is full or cannot be written, which is
        said once until it works again.

        Args: what: a name of what is written, the same every time.
        """
        try:
            result = write()
        except OSError as e:
            if what not in self._failing:
                reason = e.strerror or e
                self.say(f"cannot write {what} ({reason}); training goes on and tries again")
            self._failing.add(what)
            return None
        if what in self._failing:
            self._failing.remove(what)
            self.say(f"{what} could be written again")
        return result

    def numbers(self, line):
        """A line of numbers in the log."""
        self.attempt("the log", lambda: self.log.write(line))

    def event(self, kimg, kind, text):
        """A line of words in the log; kinds as of `RunLog.event`."""
        self.attempt("the log", lambda: self.log.event(kimg, kind, text))

    def warn(self, kimg, text):
        """A warning, in the log and on the terminal."""
        self.event(kimg, "warning", text)
        self.say(f"warning: {text}")

    def report(self):
        """Write report.html."""
        try:
            self.attempt("report.html", lambda: write_report(self.run_dir))
        except Exception as e:  # a picture of the run is not worth the run
            self.say(f"report.html: {type(e).__name__}: {e}")

    def say(self, text):
        """A line on the terminal, above the bar."""
        tqdm.write(text, file=self.stream)

    def close(self):
        """Close what is open."""
        self.log.close()


class Bar(tqdm):
    """Counts images, shows kimg.

    Args:
        seen, end: images at the beginning, and to come to.
        batch: images in a step.
        stream: what to draw on.
    """

    def __init__(self, seen, end, batch, stream):
        super().__init__(
            total=-(-end // batch) * batch,
            initial=seen,
            file=stream,
            unit="img",
            desc="train",
            mininterval=1,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {kimg} "
            "[{elapsed}<{remaining}, {rate_fmt}{postfix}]",
        )

    @property
    def format_dict(self):
        """As of tqdm, with kimg."""
        d = super().format_dict
        return {**d, "kimg": f"{d['n'] / 1000:.1f}/{d['total'] / 1000:g} kimg"}


class _Deaf:
    """A stream that does not mind being written to a full disk, or a terminal that is gone."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        try:
            return self._stream.write(text)
        except OSError:
            return len(text)

    def flush(self):
        try:
            self._stream.flush()
        except OSError:
            pass

    def __getattr__(self, name):
        return getattr(self._stream, name)
