# SPDX-License-Identifier: Apache-2.0
"""Settings for files that do not tell theirs: those of another network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from stylegan.config import Config

_LIKE: ContextVar[Config | None] = ContextVar("like", default=None)


@contextmanager
def settings_like(config: Config | None) -> Iterator[None]:
    """Inside of it, state dicts that are opened have these settings. None: those of their shapes,
    as outside."""
    token = _LIKE.set(config)
    try:
        yield
    finally:
        _LIKE.reset(token)


def current_like() -> Config | None:
    """The settings that `settings_like` gives, or None."""
    return _LIKE.get()
