# SPDX-License-Identifier: Apache-2.0
"""What reading one file may cost, and the error that ends reading."""

from __future__ import annotations

MAX_OPCODES = 500_000  # of one file; 60,000 in published networks, 200,000 with D of Projected GAN
MAX_KEPT = 64 << 20  # bytes of all strings that are kept in memory
MAX_TEXT_READS = 2  # times the file's size; an honest file reads its text twice

KEYS = (str, int, bool, bytes, type(None))  # types of dict keys and set items: quickly hashed
MAX_KEY_BITS = 60  # many larger integers can share one hash, which makes a dict slow


class Refusal(Exception):
    """Why a file is refused, without its name and the offset."""


class Budget:
    """The opcodes and memory that one file may still use.

    Args: file_size: in bytes.
    Attributes: nested: whether this is inside a file that is the content of a tensor.
    """

    def __init__(self, file_size: int) -> None:
        self.opcodes, self.kept = MAX_OPCODES, MAX_KEPT
        self.text = MAX_TEXT_READS * file_size
        self.nested = False

    def spend_opcodes(self, count: int) -> None:
        """Count the work of one opcode, such as a copy of `count` items."""
        self.opcodes -= count
        if self.opcodes < 0:
            raise Refusal(f"more than {MAX_OPCODES:,} opcodes, or as much work")

    def spend_bytes(self, length: int) -> None:
        """Count bytes that stay in memory."""
        self.kept -= length
        if self.kept < 0:
            raise Refusal(f"more than {MAX_KEPT >> 20} MiB of text")

    def spend_text(self, length: int) -> None:
        """Count text in the file that is decoded to bytes."""
        self.text -= length
        if self.text < 0:
            raise Refusal("damaged: the same text is used many times")


def is_key(value: object) -> bool:
    """Whether `value` may be a key of a dict, or in a set."""
    return type(value) in KEYS and (type(value) is not int or value.bit_length() <= MAX_KEY_BITS)
