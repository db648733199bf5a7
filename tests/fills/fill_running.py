"""What runs in a process of its own: named on the command line, it prints one line of figures."""

import hashlib
import os
import resource
import sys
import threading
import time
import warnings
from pathlib import Path

import torch

from exnihilo.fills import Box, Key, Law, backends, fill_

KEY = Key(2, "cases")
LARGE = 2**25


def peak() -> int:
    """The largest size that the process has had in memory, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.view(torch.uint8).numpy().tobytes()).hexdigest()


def memory(count: int, dtype: str, arranged: str) -> None:
    """How far a fill of memory that was touched before raises the peak."""
    torch.set_num_threads(count)
    tensor = torch.zeros(LARGE // 4, 4, dtype=getattr(torch, dtype))
    tensor = tensor.t() if arranged == "permuted" else tensor
    small = torch.zeros(2**21).t() if arranged == "permuted" else torch.zeros(2**21)
    fill_(small, Law.normal(), KEY)  # the code and the threads' first stacks are not what is measured
    fill_(torch.zeros(2**12, 2**9).t(), Law.normal(), KEY)
    tensor.fill_(1.0)
    before = peak()
    fill_(tensor, Law.normal(), KEY)
    print(peak() - before)


def fork() -> None:
    """The digests of what a parent filled by threads and a forked child then filled, the same way."""
    torch.set_num_threads(3)
    tensor = fill_(torch.empty(2**21), Law.normal(), KEY)
    path = Path(sys.argv[2])
    child = os.fork()
    if child == 0:
        path.write_text(digest(fill_(torch.empty(2**21), Law.normal(), KEY)))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), digest(tensor) == path.read_text())


def interpreter(arranged: str) -> None:
    """The longest time for which another Python thread stood still, as a share of a fill's."""
    torch.set_num_threads(1)
    tensor = torch.zeros(LARGE, dtype=torch.float64)
    tensor = tensor.view(2**12, 2**13).t() if arranged == "permuted" else tensor
    done, pauses = threading.Event(), [0.0]

    def watch() -> None:
        last = time.perf_counter()
        while not done.is_set():
            now = time.perf_counter()
            pauses.append(now - last)
            last = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    time.sleep(0.05)
    pauses.clear()
    began = time.perf_counter()
    fill_(tensor, Law.truncated_normal(lower=-4.0, upper=5.0), KEY)
    took = time.perf_counter() - began
    done.set()
    watcher.join()
    print(max(pauses) / took, took)


def fallback() -> None:
    """How many warnings, and the digest of a few fills."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = hashlib.sha256()
        for law in (Law.normal(), Law.uniform(), Law.truncated_normal(), Law.truncated_normal(lower=-4.0, upper=5.0)):
            out = fill_(torch.empty(300, 7, dtype=torch.bfloat16), law, KEY, Box((400, 9), (30, 1), (300, 7)))
            found.update(digest(out.contiguous()).encode())
    warned = [f"{type(warning.message).__name__}:{Path(warning.filename).name}" for warning in caught]
    print(backends.describe(), ",".join(warned) or "-", found.hexdigest())


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["memory", count, dtype, arranged]:
            memory(int(count), dtype, arranged)
        case ["fork", _]:
            fork()
        case ["interpreter", arranged]:
            interpreter(arranged)
        case ["fallback"]:
            fallback()
        case other:
            raise SystemExit(f"unknown: {other}")
