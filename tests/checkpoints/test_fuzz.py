# SPDX-License-Identifier: Apache-2.0
"""Checkpoints with a little damage are refused in one line, or give networks that can be read.

benchmarks/fuzz_checkpoints.py does the same with many more files.
"""

import collections

import pytest

from checkpoints import mutations
from checkpoints.hostile import FIXTURES
from stylegan.checkpoints.pickle import unpickle

SECONDS = 2.0  # for one file
COUNT, GROUPS = 500, 10


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subjects")
    made = [mutations.tensorflow_file(folder), *mutations.odd_files(folder)]
    return [*mutations.fixtures(FIXTURES), *map(mutations.subject, made)]


@pytest.mark.parametrize("group", range(GROUPS))
def test_damage(subjects, group, tmp_path):
    """A damaged file is refused or gives a network, and both occur."""
    path, outcomes = tmp_path / "damaged.pkl", collections.Counter()
    with mutations.little_memory():
        for seed in range(group, COUNT, GROUPS):
            data, what = mutations.mutate(seed, subjects)
            path.write_bytes(data)
            try:
                outcomes[mutations.outcome(path, SECONDS)] += 1
            except mutations.Wrong as e:
                pytest.fail(f"{what}: {e}")
    count = COUNT // GROUPS
    assert outcomes["refused"] > count // 4 and outcomes["networks"] > count // 20, outcomes


def test_subjects(subjects):
    """Most positions are in the structure of the file."""
    for subject in subjects:
        assert len(subject.opcodes) > 3000 and subject.opcodes == sorted(subject.opcodes)
        assert all(0 <= start < stop <= len(subject.data) for start, stop in subject.spans)
        assert 10_000 < sum(stop - start for start, stop in subject.spans) < 130_000
        assert mutations.mutate(7, subjects) == mutations.mutate(7, subjects)


@pytest.mark.parametrize("name", sorted({kind.__name__ for kind in mutations.KINDS}))
def test_mutations_change_files(subjects, name):
    kind, changed = getattr(mutations, name), 0
    for seed in range(20):
        rng = mutations.random.Random(seed)
        subject = rng.choice(subjects)
        changed += bytes(kind(rng, subject, subjects)[0]) != subject.data
    assert changed >= 12


def test_other_errors_are_found(subjects, tmp_path, monkeypatch):
    path = tmp_path / "damaged.pkl"
    path.write_bytes(b"\x80\x02Nh\x05" + b"." * 20)
    assert mutations.outcome(path, SECONDS) == "refused"
    with pytest.raises(mutations.Wrong, match="refused after"):
        mutations.outcome(path, 0)

    def recall(machine, key):
        raise RuntimeError("not this one")

    monkeypatch.setitem(unpickle.ACTIONS, ord("h"), unpickle._sized("<B", 1, recall))
    with pytest.raises(mutations.Wrong, match="RuntimeError: not this one"):
        mutations.outcome(path, SECONDS)


def test_memory_is_limited():
    with mutations.little_memory(), pytest.raises((MemoryError, RuntimeError)):
        bytearray(8 << 30)
