# SPDX-License-Identifier: Apache-2.0
"""docs/troubleshooting.md lists messages that the code prints, and all that users meet."""

import pytest
from support.messages import ROOT, fragments, in_source, is_listed, listed, raised

PAGE = ROOT / "docs" / "troubleshooting.md"
MESSAGES = listed(PAGE)

BUILD = {"Problem", "Missing", "BuildFailed", "Unwritable"}
# How many of the arguments make the message.
USER = {"UserError": 2, "LabelError": 2, "SnapshotError": 2, "BadParameter": 1, "UsageError": 1}
# Read by programmers, with a traceback and the docstring at hand.
ELSEWHERE = {
    "stylegan/checkpoints",  # the reasons of the readers; the page has the common ones
}


def test_there_are_messages():
    assert len(MESSAGES) > 150


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_in_the_source(message):
    missing = [part for part in fragments(message) if part not in in_source()]
    assert missing == []


def test_messages_of_the_build_are_listed():
    found = raised("stylegan_ops/build", BUILD)
    assert len(found) > 12
    missing = [r for r in found if fragments(r.text) and not is_listed(r.text, MESSAGES)]
    assert missing == []


def test_errors_of_the_build_are_named():
    text = PAGE.read_text("utf-8")
    assert [name for name in sorted(BUILD) if f"`{name}`" not in text] == []


def test_messages_for_users_are_listed():
    found = [r for r in raised("stylegan", USER) if not r.where.startswith(tuple(ELSEWHERE))]
    assert len(found) > 90
    missing = [r for r in found if fragments(r.text) and not is_listed(r.text, MESSAGES)]
    assert missing == []


def test_wrong_messages_would_be_found():
    assert "the moon" not in in_source() and "is of CUDA" in in_source()
    assert not is_listed("nvcc in ... has the hiccups", MESSAGES)
    assert is_listed("nvcc in ... does not work: ...", MESSAGES)
