"""Workers of a Dask cluster, for when one machine is not enough: pip install 'gatebench[dask]'.

They need the same gatebench, the target's key in their environment and GATEBENCH_HOME on a disk that all share. Best
started as `dask worker SCHEDULER --nworkers N --nthreads 1`: a leg runs in a worker's task thread.
"""

import contextlib
from functools import partial
from typing import Any

from storage.errors import TargetError, UsageError
from tasks.load import shard
from tasks.load.workers import Worker, WorkerDied, boot_id, check, hello


class Cluster:
    """The workers that a Dask scheduler has. One leg's part is one task, pinned to its worker and never tried again."""

    def __init__(self, address: str, connect_s: float = 10.0) -> None:
        """Raises UsageError without Dask, TargetError where no scheduler answers. Blocks."""
        try:
            from distributed import Client  # noqa: PLC0415 - an extra
        except ImportError:
            raise UsageError("GATEBENCH_DASK_SCHEDULER needs Dask: pip install 'gatebench[dask]'") from None
        try:
            self._client: Any = Client(  # type: ignore[no-untyped-call]
                address, timeout=connect_s, set_as_default=False, asynchronous=False
            )
        except (OSError, ValueError) as error:
            raise TargetError(f"no Dask scheduler answers at {address} (GATEBENCH_DASK_SCHEDULER): {error}") from None
        self.address = address
        self.most: int | None = None
        self._workers: dict[str, Worker] = {}

    def addresses(self) -> list[str]:
        """Of the live workers, as the scheduler knows them now."""
        try:
            found = self._client.run_on_scheduler(_addresses)
        except (OSError, ValueError, RuntimeError) as error:
            raise WorkerDied(f"the Dask scheduler at {self.address} is gone: {error}") from None
        return sorted(found)

    def have(self, count: int, key_env: str) -> list[Worker]:
        present = self.addresses()
        if not present:
            raise WorkerDied(
                f"the Dask scheduler at {self.address} has no worker; start one: dask worker {self.address}"
            )
        self._workers = {address: self._workers[address] for address in present if address in self._workers}
        for address in present:
            if len(self._workers) >= count:
                break
            if address not in self._workers:
                self._workers[address] = self._meet(address, key_env)
        return list(self._workers.values())[:count]

    def _meet(self, address: str, key_env: str) -> Worker:
        executor = self._client.get_executor(workers=[address], allow_other_workers=False, pure=False, retries=0)
        said = self._client.run(hello, key_env, workers=[address])[address]
        check(address, said, key_env)
        return Worker(
            f"{address} (process {said.pid})",
            executor,
            said,
            interrupt=partial(self._interrupt, address),
            alive=partial(self._alive, address),
            near=said.boot_id is not None and said.boot_id == boot_id(),
        )

    def _interrupt(self, address: str) -> None:
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # it is gone, which the leg will be told
            self._client.run(shard.interrupt, workers=[address], on_error="ignore")

    def _alive(self, address: str) -> bool:
        return address in self.addresses()

    def drop(self, worker: Worker, stuck: bool = False) -> None:
        self._workers = {address: one for address, one in self._workers.items() if one is not worker}

    def close(self) -> None:
        self._client.close()


def _addresses(dask_scheduler: Any) -> list[str]:
    return list(dask_scheduler.workers)
