# SPDX-License-Identifier: Apache-2.0
"""Opens damaged checkpoints: how many are refused, how many give networks, and the slowest ones.

The damage is that of tests/checkpoints/mutations.py, the same for the same seed. Stops with exit
code 1 at the first file that gives anything else: another error than CheckpointError, a network of
other shapes than its config, more time or memory than allowed.
"""

import collections
import sys
import tempfile
import time
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from checkpoints import mutations  # noqa: E402


@click.command()
@click.option("--count", default=10_000, help="Number of files.")
@click.option("--seed", default=1_000, help="Seed of the first file; each file has the next one.")
@click.option("--seconds", default=2.0, help="CPU time that one file may take.")
@click.option("--fixtures", default=str(ROOT / "tests" / "fixtures"), help="Folder of checkpoints.")
def main(count, seed, seconds, fixtures):
    """Damage checkpoints, open them, and print the outcomes."""
    outcomes, times = collections.Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        made = [mutations.tensorflow_file(folder), *mutations.odd_files(folder)]
        subjects = [*mutations.fixtures(fixtures), *map(mutations.subject, made)]
        for path in (*Path(fixtures).iterdir(), *made):  # late imports happen here
            if path.suffix in (".pkl", ".pt"):
                mutations.outcome(path, 60)
    with tempfile.TemporaryDirectory() as folder, mutations.little_memory():
        path = Path(folder) / "damaged.pkl"
        for i in range(count):
            data, what = mutations.mutate(seed + i, subjects)
            path.write_bytes(data)
            begun = time.thread_time()
            try:
                result = mutations.outcome(path, seconds)
            except mutations.Wrong as e:
                print(f"{what}: {e}")
                sys.exit(1)
            times.append((time.thread_time() - begun, what, result))
            outcomes[what.split(", ")[1], result] += 1
    print("| damage | refused | networks |\n|---|---|---|")
    kinds = sorted({kind for kind, _ in outcomes})
    for kind in kinds:
        print(f"| {kind} | {outcomes[kind, 'refused']} | {outcomes[kind, 'networks']} |")
    total = [sum(outcomes[kind, result] for kind in kinds) for result in ("refused", "networks")]
    print(f"| all | {total[0]} | {total[1]} |\n")
    for took, what, result in sorted(times)[-3:]:
        print(f"{1000 * took:.0f} ms, {result}: {what}")


if __name__ == "__main__":
    main()
