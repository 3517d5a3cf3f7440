# SPDX-License-Identifier: Apache-2.0
"""The compiled extension of a device, as `build` returns it to `dispatch`."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

DEVICES = ("cpu", "cuda")  # those with an extension


@dataclass(frozen=True, slots=True)
class Extension:
    """The extension of a device, or why there is none."""

    module: ModuleType | None
    what: str = ""  # is missing or failed
    fix: str = ""  # command or advice

    @property
    def reason(self) -> str:
        """One line."""
        return f"{self.what} (fix: {self.fix})" if self.fix else self.what
