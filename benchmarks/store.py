"""A study with the store and without it: wall time, trainings, and whether both leave the same records.

    python benchmarks/store.py [--fit-s 0.3] [overrides of al run -m ...]

Without overrides: random, entropy and ccms with three UD-splits, two seeds, 1 + 3 rounds, on the built-in digits with the fake
learner, each training of which waits `--fit-s` seconds. With `model=...` it is a real study, and takes as long.
The ratio is what to quote; the seconds are this machine's. The store starts empty.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDIES = (
    ["sampler=random,entropy"],
    ["sampler=ccms", "ud_split=[1,0.5,0],[1,1,0],[0.5,0.5,0.5]"],
)
COMMON = ["seed=0,1", "rounds=3", "initial=64", "budget=64"]


def run_s(words: list[str], outputs: Path) -> float:
    """Seconds of one `al run -m` in a process of its own."""
    command = [sys.executable, "-m", "al_cli.cli.main", "run", "-m", *words, f"outputs={outputs}", "study=s"]
    environment = {key: value for key, value in os.environ.items() if key != "AL_STORE"}
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def records(outputs: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(outputs)): path.read_bytes() for path in sorted(outputs.glob("s/*/round_*/record.json"))
    }


def misses(outputs: Path) -> int:
    """Trainings that were really made, as timing.json has them; every round's where there was no store."""
    timings = [json.loads(path.read_text()) for path in outputs.glob("s/*/round_*/timing.json")]
    return sum(timing.get("store", {}).get("misses", {}).get("training", 1) for timing in timings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit-s", type=float, default=0.3)
    args, overrides = parser.parse_known_args()
    fake = [*COMMON, "model=fake", f"model.overrides.fit_s={args.fit_s}"]
    studies = [overrides] if overrides else [[*fake, *words] for words in STUDIES]
    with tempfile.TemporaryDirectory() as folder:
        without, within = Path(folder) / "without", Path(folder) / "with"
        seconds = dict.fromkeys((without, within), 0.0)
        for words in studies:  # in turn, so that a busy moment harms both
            seconds[without] += run_s([*words, "store=false"], without)
            seconds[within] += run_s([*words, "store=true"], within)
        assert records(without) == records(within), "the store has changed a record"
        a, b = seconds[without], seconds[within]
        print(f"{len(records(without))} rounds, records equal with and without the store")
        print(f"without  {a:7.1f} s  {misses(without):4d} trainings")
        print(f"with     {b:7.1f} s  {misses(within):4d} trainings")
        print(f"time ratio {b / a:.3f}, training ratio {misses(within) / misses(without):.3f}")


if __name__ == "__main__":
    main()
