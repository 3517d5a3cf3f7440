# SPDX-License-Identifier: Apache-2.0
"""Settings for files that do not tell theirs: those of another network."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from stylegan.config import Config

_LIKE: ContextVar[Callable[[], Config] | None] = ContextVar("like", default=None)


@contextmanager
def settings_like(config: Callable[[], Config]) -> Iterator[None]:
    """Inside of it, state dicts that are opened have the settings that `config` returns. It is
    called once, when the first file is opened."""
    token = _LIKE.set(functools.cache(config))
    try:
        yield
    finally:
        _LIKE.reset(token)


def current_like() -> Config | None:
    """The settings that `settings_like` gives, or None."""
    config = _LIKE.get()
    if config is None:
        return None
    token = _LIKE.set(None)  # the network with these settings has its own
    try:
        return config()
    finally:
        _LIKE.reset(token)
