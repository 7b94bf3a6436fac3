"""Which of the pool's runs a worker that starts here may take for lost."""

import socket

from deployments.unfinished import flow_works


def here(pid: str) -> bool:
    """Is this process, noted as `host:pid`, at work? One of another machine is left to its heartbeat."""
    host, _, number = pid.rpartition(":")
    return flow_works(number) if host in ("", socket.gethostname()) else True
