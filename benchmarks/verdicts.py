"""Which rule should say that an arm is better than random? Error rates and power of every candidate, by simulation alone.

    python benchmarks/verdicts.py [--quick] [--degrees] [--studies 5000] [--permuted 4000] [--out benchmarks]

A study has `arms` arms beside the baseline, each with one number (AUC) per seed. Its noise is normal and that of the
training: what a seed gives to all arms cancels. Null: all true means are equal; an error is any arm called better or worse.

* spread 0: all arms have the same SD; spread 0.5: each arm's SD (the baseline's too) is exp(0.5 z), z standard normal.
* shared: AUC is a mean over rounds with independent noise, and groups of GROUP arms make the first rounds together, as the
  store does: this share of each arm's variance is the same number in the whole group (with the group's own SD).
  The baseline shares with nobody. A round that all arms share cancels.
* power: one arm is truly 1 or 2 SD better, in SD of its own paired difference; it is found if it is called better.

* stress: spread 1 without sharing. It enters no calibration and no bar: it shows which rule breaks first.

A calibrated rule takes its critical value per (seeds, arms) from other draws of the same null: the largest over all
conditions, each at its own bar. --out writes verdicts.csv (every cell); the summary is printed. --degrees prints the table
of degrees of freedom that al_cli/report/statistics/verdict.py uses.
"""

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, optimize, special, stats

Array = NDArray[np.float64]
SEEDS, ARMS = (3, 5, 10, 20), (2, 12, 34)
BARS = {0.0: 0.05, 0.5: 0.06}  # spread -> highest family-wise error
MARGIN = 0.003  # calibration aims this much below the bar, for its own Monte-Carlo error
STRESS = (1.0, 0.0)
SHARED = (0.0, 0.4, 0.8)
CONDITIONS = [(spread, shared) for spread in BARS for shared in SHARED]
EFFECTS = (1.0, 2.0)
GROUP = 4
ALPHA = 0.05
RULE = "max(own, pooled)"  # the rule in use
SEEDS_GRID, ARMS_GRID = (3, 4, 5, 7, 10, 20, 40), (2, 3, 4, 6, 8, 12, 20, 34, 64)
PERMUTATIONS = 99
CHUNK = 2000  # studies in memory at a time
BLOCK = 500


def study(
    rng: np.random.Generator, count: int, seeds: int, arms: int, spread: float, shared: float
) -> tuple[Array, Array]:
    """[count, arms + 1, seeds] values under the null, the baseline first, and [count, arms] SD of each paired difference."""
    sd = np.exp(spread * rng.standard_normal((count, arms + 1)))
    own = rng.standard_normal((count, arms + 1, seeds)) * sd[..., None]
    if shared == 0:
        return own, np.hypot(sd[:, 1:], sd[:, :1])
    group = np.arange(arms) // GROUP
    first = 1 + GROUP * np.arange(group[-1] + 1)
    together = rng.standard_normal((count, len(first), seeds)) * sd[:, first, None]
    own[:, 1:] = np.sqrt(shared) * together[:, group] + np.sqrt(1 - shared) * own[:, 1:]
    variance = shared * sd[:, first][:, group] ** 2 + (1 - shared) * sd[:, 1:] ** 2 + sd[:, :1] ** 2
    return own, np.sqrt(variance)


def holm(t: Array, df: Array | float) -> NDArray[np.bool_]:
    """[C, K] which |t| of each row Holm (1979) rejects: the k-th largest against Student's alpha / (2 (K - k + 1))."""
    order = np.argsort(-t, axis=1)
    levels = ALPHA / (2 * np.arange(t.shape[1], 0, -1))
    steps = np.take_along_axis(t, order, 1)
    if isinstance(df, np.ndarray):
        passed = stats.t.sf(steps, df) <= levels
    else:
        passed = steps >= stats.t.isf(levels, df)
    out = np.empty(t.shape, bool)
    np.put_along_axis(out, order, np.logical_and.accumulate(passed, axis=1), 1)
    return out


def dunnett(seeds: int, arms: int) -> float:
    """The two-sided critical value of Dunnett (1955) for means of equal size against one: correlation 1/2, pooled error."""
    df = (seeds - 1) * arms
    z, w = np.polynomial.hermite_e.hermegauss(80)

    def below(c: float) -> float:
        def given(s: float) -> float:
            inside = special.ndtr(z + c * s * np.sqrt(2)) - special.ndtr(z - c * s * np.sqrt(2))
            density = stats.chi.pdf(s * np.sqrt(df), df) * np.sqrt(df)
            return float(w @ inside**arms / np.sqrt(2 * np.pi) * density)

        return float(integrate.quad(given, 0, 1 + 8 / np.sqrt(2 * df), limit=200)[0])

    return float(optimize.brentq(lambda c: below(c) - (1 - ALPHA), 1.0, 30.0, xtol=1e-4))


def trigamma_inverse(y: Array) -> Array:
    """x > 0 with trigamma(x) = y, by Newton's method on 1 / trigamma (Smyth 2004, appendix)."""
    x = 0.5 + 1 / y
    for _ in range(8):
        t = special.polygamma(1, x)
        x = x + t * (1 - t / y) / special.polygamma(2, x)
    return x


def limma(variance: Array, df: int) -> tuple[Array, Array]:
    """Moderated variances [C, K] and degrees of freedom [C, 1] (Smyth 2004): prior by the moments of the log variances."""
    log = np.log(variance) - special.digamma(df / 2) + np.log(df / 2)
    excess = log.var(1, ddof=1, keepdims=True) - special.polygamma(1, df / 2)
    prior = np.where(excess > 1e-4, 2 * trigamma_inverse(np.maximum(excess, 1e-4)), 1e6)
    scale = np.exp(log.mean(1, keepdims=True) + special.digamma(prior / 2) - np.log(prior / 2))
    return (prior * scale + df * variance) / (prior + df), np.minimum(prior + df, df * variance.shape[1])


@dataclass(frozen=True)
class Errors:
    """What the rules need of C studies: the mean differences [C, K] and, by name, standard errors and degrees of freedom."""

    mean: Array
    error: dict[str, Array]
    df: dict[str, Array | float]

    @classmethod
    def of(cls, values: Array, names: Sequence[str] = ()) -> "Errors":
        """All of them, or without the costly limma where `names` lacks it."""
        _, total, seeds = values.shape
        arms, df = total - 1, seeds - 1
        difference = values[:, 1:] - values[:, :1]
        own = difference.var(2, ddof=1)
        pooled = own.mean(1, keepdims=True)
        residual = values - values.mean(1, keepdims=True)
        block = 2 * residual.var(2, ddof=0).sum(1, keepdims=True) * seeds / (df * arms)
        moderated, moderated_df = limma(own, df) if not names or "limma" in names else (own, own)
        variance = {
            "own": own,
            "block": block,
            "pooled": pooled,
            "limma": moderated,
            "max(own, block)": np.maximum(own, block),
            "max(own, pooled)": np.maximum(own, pooled),
            "max(own, pooled/2)": np.maximum(own, pooled / 2),
        }
        degrees: dict[str, Array | float] = {"own": df, "limma": moderated_df}
        for name in ("block", "pooled", "max(own, block)", "max(own, pooled)"):
            degrees[name] = df * arms
        degrees["max(own, pooled/2)"] = df
        for prior in (2, 4, 8, 16):
            name = f"shrunk {prior}"
            variance[name] = (prior * pooled + df * own) / (prior + df)
            degrees[name] = min(prior, df * (arms - 1)) + df
        variance["shrunk 8 to the larger"] = (8 * np.maximum(block, pooled) + df * own) / (8 + df)
        degrees["shrunk 8 to the larger"] = degrees["shrunk 8"]
        error = {name: np.broadcast_to(np.sqrt(v / seeds), own.shape) for name, v in variance.items()}
        return cls(difference.mean(2), error, degrees)


STATISTICS = list(Errors.of(np.random.default_rng(0).standard_normal((3, 3, 3))).error)


def max_t(values: Array, rng: np.random.Generator) -> Array:
    """[C, K] p of max-T within seeds: the arms' labels permuted within each seed, |t| of each arm by its own SD.

    The same permutations for BLOCK studies at a time.
    """
    count, total, seeds = values.shape
    layers = np.ascontiguousarray(
        values.transpose(2, 1, 0), np.float32
    )  # [S, A + 1, C]: a label's studies lie together

    def t(v: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        sums, squares = np.float32(0), np.float32(0)
        for seed, row in enumerate(rows):  # row 0 is the permuted baseline
            d = v[seed][row[1:]]
            d -= v[seed, row[0]]
            sums = sums + d
            d *= d
            squares = squares + d
        mean = sums / np.float32(seeds)
        return np.asarray(np.abs(mean) / np.sqrt(np.maximum(squares / seeds - mean * mean, 1e-12) / (seeds - 1)))

    plain = np.tile(np.arange(total), (seeds, 1))
    parts = []
    for start in range(0, count, BLOCK):
        block = layers[..., start : start + BLOCK]
        observed = t(block, plain)
        above = np.ones(observed.shape)
        for _ in range(PERMUTATIONS):
            above += t(block, rng.permuted(plain, axis=1)).max(0) >= observed * (1 - 1e-5)
        parts.append(above.T / (PERMUTATIONS + 1))
    return np.concatenate(parts)


Found = dict[str, NDArray[np.bool_]]


def rules(errors: Errors, shift: Array | float, critical: dict[str, float], seeds: int, arms: int) -> Found:
    """Rule -> [C, K] whether it rejects, for studies whose mean differences are moved by `shift`."""
    found = {}
    for name in STATISTICS:
        t = np.abs(errors.mean + shift) / errors.error[name]
        found[f"{name}, Holm"] = holm(t, errors.df[name])
        if "block" in name or "pooled)" in name or name == "pooled":
            found[f"{name}, Dunnett"] = t >= critical["Dunnett"]
        if name in critical:
            found[f"{name}, calibrated"] = t >= critical[name]
    return found


def chunks(studies: int) -> Iterator[int]:
    for start in range(0, studies, CHUNK):
        yield min(CHUNK, studies - start)


def calibrate(seeds: int, arms: int, studies: int, permuted: int, names: Sequence[str]) -> dict[str, float]:
    """Statistic -> critical value: the largest over all conditions of the quantile of the largest |t|, each at its bar."""
    critical = dict.fromkeys(names, 0.0)
    level = 1.0
    for k, (spread, shared) in enumerate(CONDITIONS):
        rng = np.random.default_rng([1, seeds, arms, k])
        largest: dict[str, list[Array]] = {name: [] for name in names}
        for count in chunks(studies):
            errors = Errors.of(study(rng, count, seeds, arms, spread, shared)[0], names)
            for name in names:
                largest[name].append((np.abs(errors.mean) / errors.error[name]).max(1))
        for name in names:
            critical[name] = max(
                critical[name], float(np.quantile(np.concatenate(largest[name]), 1 - BARS[spread] + MARGIN))
            )
        smallest = [max_t(study(rng, n, seeds, arms, spread, shared)[0], rng).min(1) for n in chunks(permuted)]
        if smallest:
            level = min(level, float(np.quantile(np.concatenate(smallest), BARS[spread] - MARGIN, method="lower")))
    critical["max-T"] = level - 0.5 / (PERMUTATIONS + 1)
    critical["Dunnett"] = dunnett(seeds, arms)
    return critical


Cell = dict[str, float | int | str]


def cells(seeds: int, arms: int, studies: int, permuted: int) -> Iterator[Cell]:
    """One row per rule, condition and effect for this number of seeds and arms."""
    critical = calibrate(seeds, arms, studies, permuted, STATISTICS)
    for k, (spread, shared) in enumerate([*CONDITIONS, STRESS]):
        rng = np.random.default_rng([2, seeds, arms, k])
        hits: dict[tuple[float, str], list[NDArray[np.bool_]]] = {}
        done = 0
        for count in chunks(studies):
            values, sd = study(rng, count, seeds, arms, spread, shared)
            errors = Errors.of(values)
            for effect in (0.0, *EFFECTS):
                shift = np.zeros_like(sd)
                shift[:, 0] = effect * sd[:, 0]
                found = rules(errors, shift, critical, seeds, arms)
                if done < permuted and (effect == 0 or shared == 0) and (spread, shared) != STRESS:
                    moved = values.copy()
                    moved[:, 1] += shift[:, :1]
                    p = max_t(moved, np.random.default_rng([3, seeds, arms, k, done]))
                    found["max-T"] = p <= ALPHA + 1e-9
                    found["max-T, calibrated"] = p <= critical["max-T"]
                right = (errors.mean + shift > 0)[:, 0]
                for rule, reject in found.items():
                    hits.setdefault((effect, rule), []).append(
                        reject[:, 0] & right if effect else np.asarray(reject.any(1))
                    )
            done += count
        for rule in dict.fromkeys(rule for _, rule in hits):
            name = rule.removesuffix(", calibrated")
            rates = {
                e: round(float(np.concatenate(hits[e, rule]).mean()), 5) for e in (0.0, *EFFECTS) if (e, rule) in hits
            }
            yield {
                "rule": rule,
                "seeds": seeds,
                "arms": arms,
                "spread": spread,
                "shared": shared,
                "studies": sum(len(part) for part in hits[0.0, rule]),
                "critical": "" if name == rule else f"{critical[name]:.4f}",
                "error": rates[0.0],
                "power_1": rates.get(1.0, ""),
                "power_2": rates.get(2.0, ""),
            }


def holds(cell: Cell) -> bool:
    """Whether the error rate of a cell is within its bar: at most two Monte-Carlo standard errors above it."""
    bar, n = BARS[float(cell["spread"])], int(cell["studies"])
    return float(cell["error"]) <= bar + 2 * np.sqrt(bar * (1 - bar) / n)


HEADER = """\
| rule | highest error, equal SDs | SDs spread e^0.5 | cells above the bar | spread e^1 (no bar) | power 1 SD | power 2 SD \
| 2 SD with 12 arms, 3, 5, 10, 20 seeds | studies a cell |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
"""


def summary(rows: list[Cell]) -> str:
    """A line a rule, those that hold first, then by power: a mean over seeds, arms and both spreads, without sharing."""
    lines = []
    for rule in dict.fromkeys(row["rule"] for row in rows):
        mine = [row for row in rows if row["rule"] == rule]
        barred = [row for row in mine if (row["spread"], row["shared"]) != STRESS]
        stress = [float(row["error"]) for row in mine if (row["spread"], row["shared"]) == STRESS]
        found = [row for row in barred if row["shared"] == 0]
        power = [float(np.mean([row[f"power_{effect:.0f}"] for row in found])) for effect in EFFECTS]
        twelve = [float(row["power_2"]) for row in found if (row["arms"], row["spread"]) == (12, 0)]
        worst = [max(float(row["error"]) for row in barred if row["spread"] == spread) for spread in BARS]
        above = sum(not holds(row) for row in barred)
        line = f"| {rule} | {worst[0]:.1%} | {worst[1]:.1%} | {above} of {len(barred)} | {max(stress, default=np.nan):.1%} "
        line += (
            f"| {power[0]:.1%} | {power[1]:.1%} | {', '.join(f'{p:.0%}' for p in twelve)} | {barred[0]['studies']} |\n"
        )
        lines.append((above > 0, -sum(power), line.replace("nan%", "")))
    return HEADER + "".join(line for *_, line in sorted(lines))


def degrees(studies: int) -> None:
    """Print, for SEEDS_GRID x ARMS_GRID, the df at which Bonferroni's t has the calibrated critical value of RULE."""
    for seeds in SEEDS_GRID:
        row = []
        for arms in ARMS_GRID:
            critical = calibrate(seeds, arms, studies, 0, (RULE,))[RULE]

            def excess(df: float, critical: float = critical, arms: int = arms) -> float:
                return float(2 * arms * stats.t.sf(critical, df)) - ALPHA

            row.append(1000.0 if excess(1000.0) > 0 else float(optimize.brentq(excess, 0.5, 1000.0)))
        print(f"    ({', '.join(f'{df:.1f}' for df in row)}),  # {seeds} seeds", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=5000, help="studies a cell (default 5000)")
    parser.add_argument("--permuted", type=int, default=4_000, help="studies a cell for max-T (default 4000)")
    parser.add_argument(
        "--quick", action="store_true", help="1000 studies, no max-T: half a minute, to see that it runs"
    )
    parser.add_argument("--out", type=Path, default=None, help="folder for verdicts.csv")
    parser.add_argument("--degrees", action="store_true", help="print the table of the rule in use, and nothing else")
    args = parser.parse_args()
    studies, permuted = (1000, 0) if args.quick else (args.studies, args.permuted)
    if args.degrees:
        return degrees(studies)
    rows: list[Cell] = []
    start = time.perf_counter()
    for seeds in SEEDS:
        for arms in ARMS:
            rows += cells(seeds, arms, studies, permuted)
            print(f"{seeds} seeds, {arms} arms: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    print(summary(rows))
    if args.out is not None:
        with (args.out / "verdicts.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
