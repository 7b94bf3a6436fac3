"""What the texts of a form must look like, so that Prefect's server refuses a slip before there is a run.

Looser than what reads them: the plan says in a sentence what these let through.
"""

from typing import Annotated

from pydantic import Field

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
URL = r"^https?://[^\s/@]+(/\S*)?$"
KEY_NAME = r"^GATEBENCH_(API_KEY|KEY_\w+)$"
OBJECTIVE = (
    r"^\s*(p50|p90|p95|p99|mean|rate)\s*\(\s*(latency|ttft|tpot|itl|errors)\s*\)"
    r"\s*(\{\s*level\s*=\s*\d+\s*\})?\s*<=?\s*\d+(\.\d+)?\s*(ms|s|%)\s*$"
)
OVERRIDE = r"^\s*\w+(\.\w+)*\s*=.*$"
WINDOW = r"^[\d.smh\s]*:?[\d.smh\s]*$"
STRESS = r"^(\s*(rate|rate_rps|concurrency|from|until)\s*=\s*[\d.]+\s*(ms|s|m|h)?\s*(,|$))*$"
STEPS = r"^(\s*\d+(\.\d+)?\s*:\s*\d+(\.\d+)?\s*(ms|s|m|h)?\s*(,|$))*$"

# In the schema only: a command that gets such a list says its own sentence.
Objective = Annotated[str, Field(json_schema_extra={"pattern": OBJECTIVE})]
Override = Annotated[str, Field(json_schema_extra={"pattern": OVERRIDE})]
Concurrency = Annotated[int, Field(json_schema_extra={"minimum": 1})]
