"""A flow that cannot do what it was asked."""

from typing import Any

from prefect import State
from prefect.states import Failed

from config.plan import PlanError
from storage.errors import GatebenchError


def refused(error: GatebenchError | PlanError) -> State[Any]:
    """Failed, with one sentence and the exit code that the command line ends with."""
    code = error.exit_code if isinstance(error, GatebenchError) else 2
    return Failed(message=str(error), data={"error": str(error), "exit_code": code})
