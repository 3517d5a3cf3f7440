# SPDX-License-Identifier: Apache-2.0
"""Opcodes of protocols 0 and 1 and of Python 2, most of which have their arguments as text."""

from __future__ import annotations

import codecs
import re

from stylegan.checkpoints.pickle.budget import Refusal
from stylegan.checkpoints.pickle.machine import MAX_TEXT, Machine
from stylegan.checkpoints.pickle.source import Escaped, Span

INTEGER = re.compile(rb"-?\d{1,300}")
MAX_MEMO = 1 << 32
CHUNK = 1 << 16


def push_integer(m: Machine) -> None:
    """INT, LONG: a number in decimal, or a truth value."""
    line = m.line().removesuffix(b"L")
    if line in (b"00", b"01"):
        m.stack.append(line == b"01")
        return
    m.stack.append(_integer(line))


def push_float(m: Machine) -> None:
    """FLOAT: a number in decimal."""
    line = m.line()
    if b"_" in line:
        raise Refusal("damaged: a number that is none")
    m.stack.append(float(line))


def push_quoted(m: Machine) -> None:
    """STRING: a string of Python 2 in quotes."""
    line = _long_line(m)
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise Refusal("damaged: a string without quotes")
    m.budget.spend_bytes(len(line))
    m.stack.append(codecs.escape_decode(line[1:-1])[0].decode("latin1"))


def push_escaped(m: Machine) -> None:
    """UNICODE: text up to the end of the line, with escapes."""
    start, length = m.at, _line_length(m)
    m.at += length + 1
    if length > MAX_TEXT and m.base is not None:
        m.stack.append(Escaped(m.file, m.base + start, length))
        return
    m.budget.spend_bytes(4 * length)
    m.stack.append(Escaped.decoder().decode(bytes(m.view[start : start + length]), True))


def push_string(m: Machine, length: int) -> None:
    """SHORT_BINSTRING, BINSTRING: a string of Python 2, whose bytes stand for characters."""
    if length < 0:
        raise Refusal(f"a string of {length} bytes")
    part = m.take(length)
    if length > MAX_TEXT and m.base is not None:
        m.stack.append(Span(m.file, m.base + m.at - length, length))
    else:
        m.budget.spend_bytes(2 * length)
        m.stack.append(str(part, "latin1"))


def recall(m: Machine) -> None:
    """GET: what was kept under a number."""
    m.stack.append(m.memo[_memo_key(m)])


def remember(m: Machine) -> None:
    """PUT: keep the topmost value under a number."""
    m.remember(_memo_key(m))


def _memo_key(m: Machine) -> int:
    key = _integer(m.line())
    if not 0 <= key < MAX_MEMO:
        raise Refusal("damaged: an invalid number in the memo")
    return key


def _integer(line: bytes) -> int:
    if not INTEGER.fullmatch(line):
        raise Refusal("damaged: a number that is none")
    return int(line)


def _line_length(m: Machine) -> int:
    """Bytes up to the next newline."""
    for at in range(m.at, len(m.view), CHUNK):
        found = bytes(m.view[at : at + CHUNK]).find(b"\n")
        if found >= 0:
            return at + found - m.at
    raise Refusal("the file ends too early; copy or download it again")


def _long_line(m: Machine) -> bytes:
    length = _line_length(m)
    if length > MAX_TEXT:
        raise Refusal("text in a line that is too long")
    line = bytes(m.view[m.at : m.at + length])
    m.at += length + 1
    return line
