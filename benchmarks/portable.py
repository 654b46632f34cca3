"""What `portable=true` costs: the same small run with and without it, in turn, in processes of their own.

    python benchmarks/portable.py [--repeats 3] [overrides of al run ...]

A run that finds its process uncapped starts once more, some seconds that are not counted here. Prints the CPU seconds of each
and their ratio within each repeat, and for single caps whether they change a byte. Ratios are what to quote. On an Intel CPU
with AVX-512 it printed (150 iterations of the tiny Faster R-CNN, 2 rounds, CCMS):

    as it comes                                  41.0 CPU s  bytes d4dce80f
    portable=true                                52.0 CPU s  bytes 0f1e93ed
    ATEN_CPU_CAPABILITY=avx2 alone               41.5 CPU s  bytes 9edcd951
    ONEDNN_MAX_CPU_ISA=AVX2 alone                45.1 CPU s  bytes 2d50c010
    MKL_CBWR=COMPATIBLE alone                    45.3 CPU s  bytes 8d4b387d
    OPENBLAS_CORETYPE=Haswell alone              40.1 CPU s  bytes d4dce80f
    NPY_ENABLE_CPU_FEATURES=X86_V3 alone         40.6 CPU s  bytes d4dce80f
    portable / as it comes: median 1.27 (from 1.24 to 1.30)

on two cores that other work shared. Alone on them (one run each, starts included) it was 1.18, and 1.10 with MKL at AVX2,
which MKL ignores on a CPU of AMD. The caps of NumPy and OpenBLAS change nothing here, but they do in exp, log and products in
double precision, which other samplers use.
"""

import argparse
import hashlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from al_cli.learners.portable import CAPS, RIVALS

RUN = ["training.iterations=150", "rounds=1", "initial=32", "budget=16", "store=false", "plots=false", "device=cpu"]


def cpu_s_and_bytes(words: list[str], variables: dict[str, str]) -> tuple[float, str]:
    """CPU seconds of one run, one start of the process included, and a digest of what it predicted and selected."""
    clean = {name: value for name, value in os.environ.items() if name not in (*CAPS, *RIVALS)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "al_cli.cli.main", "run", *RUN, *words, f"outputs={folder}"]
        subprocess.run(command, env=clean | variables, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        digest = hashlib.sha256()
        for path in sorted(Path(folder).rglob("round_*/*")):
            if path.name in ("predictions.npz", "candidates.csv"):
                digest.update(path.read_bytes())
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, digest.hexdigest()[:8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    args, overrides = parser.parse_known_args()
    pairs = []
    for _ in range(args.repeats):
        pairs.append((cpu_s_and_bytes(overrides, {}), cpu_s_and_bytes([*overrides, "portable=true"], CAPS)))
    for name, side in (("as it comes", 0), ("portable=true", 1)):
        took = [pair[side][0] for pair in pairs]
        made = sorted({pair[side][1] for pair in pairs})
        print(f"{name:<42} {statistics.median(took):6.1f} CPU s  bytes {', '.join(made)}")
    for name, value in CAPS.items():
        took_s, made_bytes = cpu_s_and_bytes(overrides, {name: value})
        print(f"{f'{name}={value} alone':<42} {took_s:6.1f} CPU s  bytes {made_bytes}")
    ratios = sorted(after[0] / before[0] for before, after in pairs)
    print(f"portable / as it comes: median {statistics.median(ratios):.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
