"""How long the report of a study takes: seconds for its runs, and per run.

    python benchmarks/report.py [--runs 200]

The runs are those of the report's own tests: random predictions of 5 rounds on 40 scenes, as `al run` leaves them. Making
them takes longer than reading them and is not counted.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from al_cli.progress import phase
from al_cli.report import write

SEEDS = 5


def make_runs(root: Path, runs: int):
    """A study of this many runs, five seeds an arm."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from sample_runs import build_samples

    samples = build_samples(root)
    with phase("make runs", runs, unit="runs") as step:
        for number in range(runs):
            arm, seed = f"arm{number // SEEDS:02d}", number % SEEDS
            gain = 1 + number // SEEDS % 7 / 10
            samples.run(f"{arm}_s{seed}", seed=seed, sampler={"name": arm}, gain=gain, dataset={"name": "scenes"})
            step()
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples = make_runs(Path(folder), args.runs)
        start = time.perf_counter()
        written = write.report(samples.root, dataset=lambda config: samples.splits)
        took = time.perf_counter() - start
        size = written.page.stat().st_size / 1e6
    print(f"report of {args.runs} runs: {took:.1f} s, {1000 * took / args.runs:.0f} ms a run; index.html {size:.1f} MB")


if __name__ == "__main__":
    main()
