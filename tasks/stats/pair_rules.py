"""Every constant of a comparison of two targets, named. `tests/bench/pairs.py` measures what they do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PairRules:
    min_effect: float = 0.03  # smaller differences are never called regressed or improved
    fdr: float = 0.10  # Benjamini-Hochberg q over what leads of one candidate: its cells and its means over levels
    confirm: bool = True  # a candidate's levels were measured again, or will be
    confirm_p: float = 0.05  # what the second measurement must reach by itself, against the same `min_effect`
    least_blocks: int = 3  # below: nothing is judged
    blind_from: float = 0.30  # where not even this beyond `min_effect` could have been seen, nothing is unchanged
    length_apart: float = 0.05  # mean output further apart than this: TTFT and TPOT lead
    error_alpha: float = 0.003  # over the levels, as the gate's
    overdispersion: float = 0.0008  # least correlation of failures inside a block, as the gate's
