"""Everything that can go wrong outside a measurement, and the exit code it ends in.

GatebenchError (1)
├── UsageError (2)          a wrong option, plan, file, format
│   └── HostNotAllowed      a target that nobody allowed
├── TargetError (13)        nothing answers there, or it refuses us
├── NothingMeasured (14)    no data never passes
├── StoppedEarly (15)       budget or error breaker
├── StorageError (16)       full disk, unreadable file
│   ├── BookLocked          another process holds the book
│   ├── Busy                another run measures on this machine, or the same target, and does not end
│   └── NewerSchema         the book was written by a newer gatebench
└── Interrupted (130)

A failed *request* is none of these: it is a sample with a failure kind (`storage.records.Failure`).
"""


class GatebenchError(Exception):
    """One sentence that says what, where and how to mend it."""

    exit_code = 1


class UsageError(GatebenchError):
    exit_code = 2


class HostNotAllowed(UsageError):
    pass


class TargetError(GatebenchError):
    exit_code = 13


class NothingMeasured(GatebenchError):
    exit_code = 14


class StoppedEarly(GatebenchError):
    exit_code = 15


class StorageError(GatebenchError):
    exit_code = 16


class BookLocked(StorageError):
    pass


class Busy(StorageError):
    pass


class NewerSchema(StorageError):
    pass


class Interrupted(GatebenchError):
    exit_code = 130
