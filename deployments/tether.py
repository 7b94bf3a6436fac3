"""`python -m deployments.tether MODULE ARGS…`: run a module as a process that ends when its parent does.

On Linux the kernel sends it SIGTERM when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG), and it stays so
over the exec; elsewhere the module simply runs.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended while we were asking
            raise SystemExit(1)
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])  # noqa: S606 - our own interpreter


if __name__ == "__main__":
    main()
