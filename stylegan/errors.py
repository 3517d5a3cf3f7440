# SPDX-License-Identifier: Apache-2.0
"""Errors that the command line reports in one line, without a traceback."""

from __future__ import annotations

from stylegan.words import one_line


class UserError(ValueError):
    """A wrong option, file or data set.

    Args:
        subject: what is wrong: the name of an option or a field, or a path.
        why: what was expected and what came, in one line.
    """

    def __init__(self, subject: object, why: str) -> None:
        super().__init__(subject, why)  # both, so that it can be pickled
        self.subject, self.why = subject, why

    def __str__(self) -> str:
        return f"{self.subject}: {self.why}"


class LabelError(UserError):
    """Labels of a data set that cannot be used. Without them the images can."""


class SnapshotError(UserError):
    """A snapshot that cannot be read: it is damaged, or a file is missing."""


class CheckpointError(UserError):
    """A file of another program that is refused or cannot be read: it is damaged, of an unknown
    kind, or asks for code to be run."""


class Note(UserWarning):
    """Something about the user's file that does not end the work. The command line prints it in one
    line."""


class TrainingError(RuntimeError):
    """Training cannot go on. The message is one line that says why and what helps."""


def reason_for(error: BaseException, subject: object) -> str:
    """Why `subject` failed, in one line, where the caller names the subject itself."""
    if isinstance(error, UserError) and str(error.subject) == str(subject):
        return one_line(error.why)
    return one_line(error) or type(error).__name__
