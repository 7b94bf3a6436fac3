"""What of a machine spoils a measurement. Pure: facts in, findings out."""

from tasks.doctor.finding import Finding, Grade, graded, ok
from tasks.doctor.probes import Facts, Share

# Clock sources that are read without a system call and without a trap to the host.
QUICK_CLOCKS = frozenset({"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen", "ppc-timebase"})
BUSY_CORES = 0.25  # other load from which numbers begin to move
BUSY_SHARE = 0.5  # of all cores, from which they are worth nothing
STEAL_WARN, STEAL_BAD = 0.01, 0.05  # of all cores
FILES_WARN, FILES_BAD = 4096, 512
PORTS_WARN, PORTS_BAD = 10_000, 1_000
MEMORY_WARN, MEMORY_BAD = 1_000_000_000, 300_000_000
STAMP_WARN_NS = 500  # a stamp that costs more is a system call
WAKE_WARN_MS, WAKE_BAD_MS = 1.0, 10.0


def machine(facts: Facts, share: Share | None, stamp_ns: float, wake_p99_ms: float | None) -> list[Finding]:
    """In the order in which they are read. `stamp_ns`: what one reading of the clock costs; `wake_p99_ms`: how late a
    timer wakes us, 99 times in 100 not later."""
    return [
        cores(facts),
        load(share),
        steal(share),
        waking(wake_p99_ms),
        governor(facts),
        power(facts),
        descriptors(facts),
        ports(facts),
        stamps(facts, stamp_ns),
        wall_clock(facts),
        memory(facts),
    ]


def cores(facts: Facts) -> Finding:
    if facts.cores is None:
        return ok("cores", "the system does not tell how many there are")
    count = f"{facts.cores:g} {'core' if facts.cores == 1 else 'cores'}"
    if facts.throttled:
        return Finding(
            "cores",
            Grade.WARN,
            f"{count}, and the container's CPU quota was used up {facts.throttled:,} times",
            "give the container whole cores (--cpuset-cpus) instead of a quota: it stops the sender in bursts",
        )
    return graded(
        "cores",
        False,
        facts.cores < 2,
        count,
        "measure from a machine with 2 cores or more: here the sender and everything else wait for one another",
    )


def load(share: Share | None) -> Finding:
    if share is None:
        return ok("other load", "the system does not tell")
    names = ", ".join(f"{name} ({pid}) {used:.1f}" for name, pid, used in share.busiest)
    found = f"{share.busy:.1f} of {share.cores:g} cores busy" + (f": {names}" if names else "")
    return graded(
        "other load",
        share.busy > BUSY_SHARE * share.cores,
        share.busy > BUSY_CORES,
        found,
        "stop it, or measure at an hour when the machine is idle",
    )


def steal(share: Share | None) -> Finding:
    if share is None:
        return ok("steal", "the system does not tell")
    part = share.steal / share.cores
    return graded(
        "steal",
        part > STEAL_BAD,
        part > STEAL_WARN,
        f"{part:.1%} of the CPU time went to other guests of the host",
        "use a machine with cores of its own (dedicated, not burstable)",
    )


def waking(p99_ms: float | None) -> Finding:
    if p99_ms is None:
        return ok("waking", "not measured")
    return graded(
        "waking",
        p99_ms > WAKE_BAD_MS,
        p99_ms > WAKE_WARN_MS,
        f"a timer wakes us {p99_ms:.2f} ms late (p99)",
        "free a core: stop other work, lift CPU quotas; `gatebench load --spin` spends one on being on time",
    )


def governor(facts: Facts) -> Finding:
    names = sorted(set(facts.governors))
    if not names:
        return ok("governor", "the CPU's frequency is not ours to set (a virtual machine, or fixed)")
    return graded(
        "governor",
        False,
        names != ["performance"],
        f"{' and '.join(names)} on {len(facts.governors)} cores",
        "sudo cpupower frequency-set -g performance",
    )


def power(facts: Facts) -> Finding:
    return graded(
        "power",
        False,
        facts.on_battery,
        "on battery" if facts.on_battery else "not on battery",
        "plug it in: on battery the CPU slows down as it likes",
    )


def descriptors(facts: Facts) -> Finding:
    limit = facts.files_limit
    if limit is None:
        return ok("descriptors", "no limit")
    hard = "" if facts.files_hard is None else f", at most {facts.files_hard:,} without root"
    return graded(
        "descriptors",
        limit < FILES_BAD,
        limit < FILES_WARN,
        f"{limit:,} files and connections may be open at once{hard}",
        f"ulimit -n {min(65_536, facts.files_hard or 65_536)} in the shell that measures; "
        "LimitNOFILE=65536 in a systemd unit",
    )


def ports(facts: Facts) -> Finding:
    if facts.ports is None or facts.sockets is None:
        return ok("local ports", "the system does not tell")
    free = max(0, facts.ports - facts.sockets)
    return graded(
        "local ports",
        free < PORTS_BAD,
        free < PORTS_WARN,
        f"{free:,} of {facts.ports:,} are free for outgoing connections",
        'sudo sysctl net.ipv4.ip_local_port_range="10240 65535", and wait a minute for old connections to go',
    )


def stamps(facts: Facts, stamp_ns: float) -> Finding:
    source = facts.clock_source
    slow = stamp_ns > STAMP_WARN_NS or (source is not None and source not in QUICK_CLOCKS)
    return graded(
        "clock source",
        False,
        slow,
        f"{source or 'unknown'}, {stamp_ns:.0f} ns a stamp",
        "boot with clocksource=tsc (or the clock of your hypervisor): this one asks the kernel for every stamp",
    )


def wall_clock(facts: Facts) -> Finding:
    if facts.synchronised is None:
        return ok("clock sync", "the system does not tell")
    return graded(
        "clock sync",
        False,
        not facts.synchronised,
        "the clock follows a time server" if facts.synchronised else "the clock follows no time server",
        "sudo timedatectl set-ntp true (on a virtual machine: on its host): nights are dated by it, and workers on "
        "other machines start by it",
    )


def memory(facts: Facts) -> Finding:
    if facts.memory_free is None:
        return ok("memory", "the system does not tell")
    return graded(
        "memory",
        facts.memory_free < MEMORY_BAD,
        facts.memory_free < MEMORY_WARN,
        f"{facts.memory_free / 1e9:.1f} GB are free",
        "end something: Prefect needs about 300 MB, a load worker 110 MB, and swapping stops the sender",
    )
