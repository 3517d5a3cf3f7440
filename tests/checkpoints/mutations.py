# SPDX-License-Identifier: Apache-2.0
"""Checkpoints with a little damage, and their valid outcomes.

Most of the damage is in the structure of a file, and not in the numbers of its tensors.
"""

import contextlib
import datetime
import functools
import pickle
import pickletools
import random
import struct
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

import stylegan
from stylegan import build_discriminator, build_generator
from stylegan.errors import CheckpointError
from stylegan.identify import begins_old

HEAD = 700  # bytes at the start of a byte string that may be a file of torch.save
LONG = 1000  # bytes; a longer string is the numbers of a tensor
LENGTHS = {"B": "<I", "X": "<I", "\x8e": "<Q", "\x8d": "<Q", "\x96": "<Q"}
NUMBERS = {"K": "<B", "M": "<H", "J": "<i", "h": "<B", "q": "<B", "j": "<I", "r": "<I", **LENGTHS}
EXTREMES = (0, 1, 2, 3, 127, 255, 256, 65535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 63) - 1)
OPCODES = [ord(info.code) for info in pickletools.opcodes]


@dataclass
class Subject:
    """A file to damage.

    Attributes:
        name, data: of the file.
        spans: (start, stop) of all parts except the numbers of tensors.
        opcodes: (position, code) in all pickles that can be parsed.
    """

    name: str
    data: bytes
    spans: list = field(default_factory=list)
    opcodes: list = field(default_factory=list)

    def position(self, rng):
        """A random position; nine out of ten are in a span."""
        if rng.random() < 0.1:
            return rng.randrange(len(self.data))
        start, stop = rng.choices(self.spans, [b - a for a, b in self.spans])[0]
        return rng.randrange(start, stop)


def subject(path):
    """The `Subject` of a fixture."""
    result = Subject(path.name, path.read_bytes())
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.header_offset + 30
                result.spans.append((name - 30, name + len(info.filename)))
                if info.filename.endswith("data.pkl"):
                    start = result.data.index(pickle.PROTO, name + len(info.filename))
                    _follow(result, start, start + info.file_size)
            result.spans.append((archive.start_dir, len(result.data)))
    else:
        _follow(result, 0, len(result.data))
    return result


def _follow(subject, start, stop):
    """Add the consecutive pickles from `start`, and the pickles in their byte strings."""
    data = subject.data
    while start < stop and (
        data[start : start + 1] == pickle.PROTO or begins_old(data[start:stop])
    ):
        try:
            found = [(at + start, *rest) for *rest, at in pickletools.genops(data[start:stop])]
        except ValueError:
            return
        begun = start
        for (at, info, argument), (after, *_) in zip(found, [*found[1:], (found[-1][0] + 1,)]):
            subject.opcodes.append((at, info.code))
            if after - at > LONG:
                subject.spans.append((begun, at + 9))
                begun = after
                if isinstance(argument, bytes):
                    inside = after - len(argument)
                    subject.spans.append((inside, min(inside + HEAD, after)))
                    _follow(subject, inside, after)
        start = found[-1][0] + 1
        subject.spans.append((begun, start))


# Each returns (damaged bytes, what was done).


def flip(rng, subject, others):
    """Other values of one to eight bytes."""
    data, positions = bytearray(subject.data), []
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at = subject.position(rng)
        data[at] = rng.choice((data[at] ^ 1 << rng.randrange(8), rng.randrange(256)))
        positions.append(at)
    return data, f"bytes {positions}"


def opcode(rng, subject, others):
    """Another opcode."""
    data, (at, _) = bytearray(subject.data), rng.choice(subject.opcodes)
    data[at] = rng.choice(OPCODES)
    return data, f"{data[at]:#04x} at {at}"


def integer(rng, subject, others):
    """Another number: an operand, an index of the memo, or a length."""
    known = [(at, code) for at, code in rng.sample(subject.opcodes, 200) if code in NUMBERS]
    data, (at, code) = bytearray(subject.data), rng.choice(known)
    format = NUMBERS[code]
    (old,) = struct.unpack_from(format, data, at + 1)
    new = rng.choice((*EXTREMES, old + 1, old - 1, old * 2, old // 2))
    size = struct.calcsize(format)
    data[at + 1 : at + 1 + size] = (new % (1 << 8 * size)).to_bytes(size, "little")
    return data, f"{old} is {new} at {at}"


def cut(rng, subject, others):
    """Bytes are missing."""
    at, n = subject.position(rng), rng.choice((1, 2, 4, 9, rng.randrange(1, 2000)))
    return subject.data[:at] + subject.data[at + n :], f"{n} bytes at {at} are missing"


def insert(rng, subject, others):
    """More bytes: random ones, opcodes, or a piece of the file."""
    at, n = subject.position(rng), rng.choice((1, 2, 4, 9, 64))
    other = subject.position(rng)
    new = rng.choice(
        (rng.randbytes(n), bytes(rng.choices(OPCODES, k=n)), subject.data[other : other + n])
    )
    return subject.data[:at] + new + subject.data[at:], f"{len(new)} bytes more at {at}"


def swap(rng, subject, others):
    """Two pieces are swapped."""
    a, b = sorted((subject.position(rng), subject.position(rng)))
    n = min(rng.choice((1, 4, 16, 300)), b - a)
    data = subject.data
    data = data[:a] + data[b : b + n] + data[a + n : b] + data[a : a + n] + data[b + n :]
    return data, f"{n} bytes at {a} and {b} are swapped"


def repeat(rng, subject, others):
    """Opcodes are repeated."""
    i = rng.randrange(len(subject.opcodes) - 60)
    start, stop = subject.opcodes[i][0], subject.opcodes[i + rng.randrange(1, 60)][0]
    piece = subject.data[start:stop] * rng.choice((1, 2, 50))
    return subject.data[:stop] + piece + subject.data[stop:], f"{start} to {stop} again"


def splice(rng, subject, others):
    """The beginning of one file and the end of another, at opcodes."""
    other = rng.choice(others)
    a, b = rng.choice(subject.opcodes)[0], rng.choice(other.opcodes)[0]
    return subject.data[:a] + other.data[b:], f"{a} bytes, then {other.name} from {b}"


def truncate(rng, subject, others):
    """The end is missing."""
    at = subject.position(rng)
    return subject.data[:at], f"only {at} bytes"


KINDS = (flip, flip, flip, opcode, opcode, integer, integer, cut, insert, swap, repeat, splice,
         truncate)  # fmt: skip


def mutate(seed, subjects):
    """(damaged bytes, what was done), the same for the same seed."""
    rng = random.Random(seed)
    chosen, kind = rng.choice(subjects), rng.choice(KINDS)
    data, what = kind(rng, chosen, subjects)
    return data, f"seed {seed}: {chosen.name}, {kind.__name__}, {what[:200]}"


class Wrong(AssertionError):
    """An outcome that no file may have."""


def outcome(path, seconds):
    """The outcome of a file: "refused" or "networks".

    Args: seconds: CPU time that it may take.
    Raises: Wrong for any other outcome.
    """
    begun = time.thread_time()
    try:
        networks = stylegan.load_networks(path, "cpu")
        for name in ("G_ema", "G", "D"):
            _check(networks, name)
        result = "networks"
    except CheckpointError as e:
        if not str(e).isprintable() or len(str(e)) > 500 + len(str(path)):
            raise Wrong(f"no single line: {e!r:.300}") from e
        result = "refused"
    except Exception as e:
        raise Wrong(f"{type(e).__name__}: {str(e)[:300]}") from e
    took = time.thread_time() - begun
    if took > seconds:
        raise Wrong(f"{result} after {took:.1f} s")
    return result


def _check(networks, name):
    """A network has the shapes of its config, and each of its tensors can be read."""
    network = getattr(networks, name)
    if network is None:
        return
    found = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    if found != _shapes(networks.config, name == "D"):
        raise Wrong(f"{name} has other tensors than its config")
    numel = sum(value.clone().numel() for value in network.state_dict().values())
    if not 0 < numel < 1 << 24:
        raise Wrong(f"{name} has {numel} numbers")


@functools.lru_cache(64)
def _shapes(config, discriminator):
    with torch.device("meta"):
        network = (build_discriminator if discriminator else build_generator)(config)
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


@contextlib.contextmanager
def little_memory(extra_bytes=2 << 30):
    """Limit the memory of this process to `extra_bytes` more than it uses, if the system can."""
    try:
        import resource
    except ImportError:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    statm = Path("/proc/self/statm")
    if statm.is_file():
        taken = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + extra_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def fixtures(folder):
    """Subjects of all checkpoints in a folder."""
    paths = [p for p in sorted(Path(folder).iterdir()) if p.suffix in (".pkl", ".pt")]
    return [subject(path) for path in paths]


def odd_files(folder):
    """Pickles with a discriminator of another package and other things that nobody needs: one of
    protocol 2 and one of protocol 1. Returns: their paths."""
    from checkpoints import nvidia_pickles

    torch.manual_seed(0)
    sizes = dict(resolution=16, channel_base=128, channel_max=8, conv_clamp=None)
    G = build_generator("stylegan2", z_dim=8, w_dim=8, **sizes)
    kind = nvidia_pickles.of_class("pg_modules.discriminator.ProjectedDiscriminator")
    D = kind()
    D.layer = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LeakyReLU())
    rest = dict(now=datetime.datetime(2024, 1, 2), keys={(1, 2): 3, 0.5: 1}, D=D)
    rest |= dict(random=np.random.RandomState(0), nets=[{"netG": nvidia_pickles.published(G)}])
    paths = []
    for protocol in (1, 2):
        path = Path(folder) / f"odd{protocol}.pkl"
        paths.append(nvidia_pickles.dump(path, rest, protocol, classes=(kind,)))
    return paths


def tensorflow_file(folder):
    """A TensorFlow pickle of small networks, written into `folder`. Returns: its path."""
    from checkpoints import tensorflow_pickles

    torch.manual_seed(0)
    sizes = dict(resolution=16, channel_base=128, channel_max=16, conv_clamp=None)
    G = build_generator("stylegan2", z_dim=16, w_dim=16, **sizes)
    D = build_discriminator("stylegan2", **sizes)
    return tensorflow_pickles.write(Path(folder) / "tf.pkl", {"G": G, "D": D, "G_ema": G})
