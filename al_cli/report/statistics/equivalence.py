"""Whether two arms are equal as far as a stated margin: the one test after which a report may say so."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from al_cli.report.statistics.paired_tests import clean, moments


def equivalence_p(differences: ArrayLike, margin: float) -> float | None:
    """p of two one-sided paired t-tests (Schuirmann 1987): small where the mean difference lies within -margin to +margin.

    Below alpha just where the 1 - 2 alpha interval of Student's t lies within the margin. `differences` [S], one a seed, NaN
    left out; None for fewer than two.
    """
    n, mean, sd = (float(value) for value in moments(clean(differences)))
    if n < 2:
        return None
    gap, scale = margin - abs(mean), sd / np.sqrt(n)
    if scale == 0:
        return 0.0 if gap > 0 else 1.0
    return float(stats.t.sf(gap / scale, n - 1))
