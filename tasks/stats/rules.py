"""Every constant of the gate, named. Chosen by simulation; `tests/bench/power.py` measures what they do."""

from dataclasses import dataclass, field

PRIOR_CV = {"latency_p50": 0.035, "latency_p95": 0.05, "latency_p99": 0.09, "ttft_p95": 0.05, "throughput": 0.05}


@dataclass(frozen=True, slots=True)
class GateRules:
    min_effect: float = 0.03  # smaller changes are never called regressed or improved
    fdr: float = 0.10  # Benjamini-Hochberg q over the cells and means of one target
    confirm_p: float = 0.007  # what the second measurement must reach
    confirm_p_alone: float = 0.002  # that one where no control takes the machine's luck off: both looks share that luck
    confirm_p_young: float = 0.003  # that one below `many_nights`, where the prior is careful already
    least_nights: int = 3  # below: no statistical gate
    many_nights: int = 20  # from here the cells' own spread leads, below the prior does
    carried_nights: int = 10  # least nights of the segment before whose spread a new one carries over
    hampel_from: int = 8  # nights, from which outlying nights are dropped
    hampel_k: float = 3.5
    few_df: float = 8.0  # weight of the prior variance below `many_nights`, in degrees of freedom
    level_df: float = 4.0  # weight of the metric's mean variance, for a level
    mean_df: float = 2.0  # weight of half the prior variance, for the mean over levels
    interval: float = 0.95  # what the interval of a change holds of unchanged nights
    outlying_prior: float = 0.5  # pseudo-counts of the share of outlying nights: half a night …
    outlying_weight: float = 15.0  # … in fifteen
    control_from: int = 15  # nights, from which the control's slope is estimated
    control_sd: float = 3.0  # robust sds the control may move
    control_least: float = 0.05  # and never less than this share
    warn_effect: float = 0.25  # said, though never judged, below `least_nights`
    error_alpha: float = 0.003  # over the levels of one target and series
    error_confirm_p: float = 0.01  # that a second measurement of errors must reach
    overdispersion: float = 0.0008  # least intra-night correlation of errors
    prior_cv: dict[str, float] = field(default_factory=lambda: dict(PRIOR_CV))
