# SPDX-License-Identifier: Apache-2.0
"""What a user can mend."""


class UserError(ValueError):
    """A wrong option, file or data set; its message is one line that says what was expected and
    what came. The command line prints it without a traceback and exits with 2."""


class SnapshotError(UserError):
    """A snapshot that cannot be read: damaged, or without what is asked of it."""


class CheckpointError(UserError):
    """A file of another program that is refused or cannot be read: damaged, of an unknown kind, or
    asking for something to be run."""


class TrainingError(RuntimeError):
    """Training cannot go on; its message is one line that says why and what helps."""
