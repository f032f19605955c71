"""
Run as a program: one contestant, measured in this process, which does nothing else.

Takes the contestant as ``module:function`` and its task as JSON. What the function does before it yields is
preparation; from then on seconds, CPU seconds and memory count, those of its child processes too. Prints JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MIB = 1024 * 1024


def main() -> None:
    name, task = sys.argv[1], json.loads(sys.argv[2])
    if task.get("bare"):
        hide_accelerators()
    module, _, function = name.partition(":")
    work: Iterator[Any] = getattr(importlib.import_module(module), function)(task)
    next(work)
    said = measured(work)
    # Lets it tidy up.
    for _ in work:
        pass
    print(json.dumps(said))


def hide_accelerators() -> None:
    """Make this process one of a bare MWAA image, as far as the provider can see."""
    sys.modules.update(dict.fromkeys(("isal", "msgspec", "obstore")))  # type: ignore[arg-type]


def measured(work: Iterator[Any]) -> dict[str, Any]:
    """Return what the rest of the work costs, and what it yields."""
    idle = memory("VmRSS")
    # Forget the peak of the preparation (see proc(5)).
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    cpu, started = cpu_seconds(), time.perf_counter()
    result = next(work)
    seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    # Of several children only the largest is known; workers of a pool are alike.
    peak = memory("VmHWM") + children * int(os.environ.get("BENCH_WORKERS", "1"))
    return {"seconds": seconds, "cpu": cpu, "peak": peak, "above_idle": peak - idle, "result": result}


def cpu_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def memory(name: str) -> int:
    """Return a size of this process in bytes, as the kernel knows it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


if __name__ == "__main__":
    main()
