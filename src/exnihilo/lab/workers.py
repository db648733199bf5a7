"""The processes that train: one thread each, deaf to Ctrl-C, and gone when their driver is."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

import torch

from exnihilo.lab.records import Run, RunRecord
from exnihilo.lab.tasks import Task


@contextmanager
def process_pool(workers: int, executor: Executor | None = None) -> Generator[Executor | None]:
    """A pool of worker processes; ``executor`` itself where there is one, None where there is one worker.

    The processes are killed where the block ends in an exception (an interrupt too): nobody waits for their chunks.
    """
    if executor is not None or workers == 1:
        yield executor
        return
    others = {child.pid for child in multiprocessing.active_children()}
    context = multiprocessing.get_context("spawn")  # forked threads of BLAS hang; a spawned process begins clean
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    try:
        with _interrupts_held():
            pool.submit(os.getpid)  # the first submission starts all processes
        yield pool
    except BaseException:
        for child in multiprocessing.active_children():
            if child.pid not in others:
                child.kill()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def train_chunk(
    train: Callable[[Task, Sequence[Run]], tuple[RunRecord, ...]], task: Task, runs: tuple[Run, ...]
) -> tuple[RunRecord, ...]:
    """Train on one thread, whatever this process does otherwise: workers with more stand in each other's way."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return train(task, runs)
    finally:
        torch.set_num_threads(num_threads)


def _begin() -> None:
    """The first thing in a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group, and the driver alone answers it
    torch.set_num_threads(1)
    threading.Thread(target=_follow_the_driver, daemon=True).start()


def _follow_the_driver() -> None:
    """End with the driver, however it ends: nobody would take what is trained after that."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


@contextmanager
def _interrupts_held() -> Generator[None]:
    """Hold Ctrl-C back for a moment: a process that is started meanwhile inherits that, and begins undisturbed."""
    with contextlib.ExitStack() as stack:
        if hasattr(signal, "pthread_sigmask"):
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        yield
