"""Apache Otava's word on nights, in a Python of its own (it pins an older numpy): `PYTHON otava_nights.py NIGHTS.npy`.

The file holds numbers above 0 by (case, number, night), tonight last, up is worse. Prints as JSON, case by case,
whether any number has a change point at tonight that is a slowdown, at Otava's own p of .001. Imports nothing of ours.
"""

import json
import sys

import numpy as np
from otava.analysis import compute_change_points

SURE = 0.001


def alarmed(series: list[float]) -> bool:
    found, _ = compute_change_points(series, max_pvalue=SURE)
    return any(int(p.index) == len(series) - 1 and p.stats.mean_2 > p.stats.mean_1 for p in found)


def main() -> int:
    cases = np.load(sys.argv[1])
    print(json.dumps([any(alarmed(series) for series in case.tolist()) for case in cases]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
