# SPDX-License-Identifier: Apache-2.0
"""What a user can mend."""


class UserError(ValueError):
    """A wrong option, file or data set; its message is one line that says what was expected and
    what came. The command line prints it without a traceback and exits with 2."""
