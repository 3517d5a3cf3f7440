# SPDX-License-Identifier: Apache-2.0
"""Child processes of tests."""

import signal


def usual_signals():
    """For Popen(preexec_fn=...): signals as from a terminal, where a shell has told the tests to
    ignore some (`nohup pytest &`), which children inherit."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
