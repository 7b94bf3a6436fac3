"""The plan that `gatebench init` writes: every part there, with what it means beside it."""

import json

TEMPLATE = """\
# What gatebench measures every night. Try it: gatebench nightly --plan THIS-FILE --dry-run
# Paths are relative to this file.
name = {name}

# The workload nights are judged on: a captured Parquet file or a pinned name. Absent: a small built-in one.
# workload = "traffic.parquet"

# Objectives. Without a level: of the replay. With one: of that level of the sweep.
slos = [
    "p95(latency) < 2s",
    "rate(errors) < 1%",
    # "p95(ttft){{level=10}} < 500ms",
]

[[targets]]
name = "gateway"
url = {url}          # OpenAI base URL; hosts other than this machine: GATEBENCH_ALLOWED_HOSTS
model = {model}
# The key itself never stands in a plan: only the name of the environment variable that holds it.
api_key_env = "GATEBENCH_API_KEY"   # or a name that starts with GATEBENCH_KEY_
# token_param = "max_completion_tokens"
# headers = {{ "x-team" = "benchmarks" }}
# extra_body = {{ temperature = 0 }}
# [targets.models]                  # model in the workload -> model to ask for
# "gpt-4o" = "gpt-4o-mini"

# Real traffic, captured anew each night; the first capture is pinned, and later ones never replace it by themselves.
# [capture]
# sources = ["/var/log/litellm/*.jsonl"]
# privacy = "counts"                # sizes and times only
# map = "time=created:ms,model=deployment,input_tokens=sent"   # columns of any table
# spread = true                     # lay arrivals with coarse stamps out within their step

[sweep]
levels = [1, 10, 50, 100]           # concurrent requests
requests = 1000                     # measured at each level, over all blocks
blocks = 5                          # passes in random order; the spread between them gives the intervals
stream = true
# extend_to = 800                   # double the top level up to this while throughput still rises; never by itself

# [ceiling]                         # after the sweep: the highest rate that the gateway keeps up with, by bisection
# enabled = true
# max_rps = 500                     # never try more; absent: a tenth beyond what the sweep reached
# duration_s = 10                   # of each rate

[replay]
speed = 1.0                         # 2 plays twice as fast
# window = "0:10m"
# max_idle_gap_s = 30               # cut longer gaps to this
# scale = 2.0                       # twice as many in the same time, bursts and think times as they were
# loop_s = 1800                     # play it again and again for so long
# sessions = true                   # a turn waits for the end of the turn before it and its recorded think time
# max_in_flight = 1000
# on_full = "queue"                 # or drop (counted), abort
# stress = "rate=20,from=1m,until=3m"   # a load on top, told apart in every row and never judged; or concurrency=8

[budget]                            # hard limits of one run
# requests = 20000
# output_tokens = 500000
# usd = 5.0                         # needs [prices]
wall_s = 7200
# refuse_over = 2.0                 # do not begin what is forecast to take more than twice a limit; 0: begin anyway

[breaker]                           # stop when more than half of the last 10 s failed
share = 0.5
window_s = 10

# [prices.{bare}]                   # dollars a million tokens: cost beforehand, afterwards and in the budget
# input = 0.15
# cached_input = 0.075              # input that the provider says it had cached; absent: as other input
# output = 0.60
# request = 0.0                     # dollars for each accepted request
# [prices."*"]                      # every other model

# [fleet]                           # for rates beyond one process; other machines: GATEBENCH_DASK_SCHEDULER
# workers = 2                       # absent: as many as keep each below half of its calibrated ceiling

[judge]
min_effect = 0.03                   # smaller changes are never called regressed

[control]                           # our own responder in the same blocks: tells a slow machine from a slow gateway
service_ms = 40

[alerts]                            # where to: GATEBENCH_ALERT_URLS, in Apprise's notation
on = ["regressed", "slo", "failed"]
"""


def plan_text(name: str, url: str, model: str) -> str:
    """A commented plan as TOML."""
    bare = json.dumps(model)
    return TEMPLATE.format(name=json.dumps(name), url=json.dumps(url), model=json.dumps(model), bare=bare)
