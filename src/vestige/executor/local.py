"""Local workers: processes with one thread each, so that results do not depend on how many of them there are."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, TypeVar

from vestige.types import InputError, MissingError, VestigeError

if TYPE_CHECKING:
    from torch import Tensor

Job = TypeVar("Job")
Result = TypeVar("Result")
Say = Callable[[str], None]
Failure = tuple[Job, str]
Gather = Callable[[Sequence[Job], Callable[[Job, Result], None]], list[Failure[Job]]]
"""gather(jobs, on_result) → the jobs that failed, with why."""
KILLED = "a worker process was killed, perhaps for want of memory; the same command resumes, --workers 1 needs less"
_interrupted = threading.Event()


def run_local(
    work: Callable[[Job], None],
    jobs: Sequence[Job],
    *,
    workers: int,
    on_done: Callable[[Job], None],
    device: str = "cpu",
) -> list[Failure[Job]]:
    """Carry out the jobs in worker processes; returns those that failed, with why.

    on_done(job) is called in this process as each one ends well. device, errors, workers that are killed: see `pooled`.
    """
    if not jobs:
        return []
    with pooled(work, min(workers, len(jobs)), device) as gather:
        return gather(jobs, lambda job, _: on_done(job))


@contextmanager
def pooled(work: Callable[[Job], Result], workers: int, device: str = "cpu") -> Iterator[Gather[Job, Result]]:
    """Worker processes that are there for several lots of jobs: gather(jobs, on_result) → those that failed, with why.

    device: "cuda" has a worker find under this name one of the GPUs that are there, each as many workers as the others.
    on_result(job, result) is called in this process as each job ends well. A VestigeError (bad input, a full disk)
    stops everything and is raised; any other error is the job's own, and the rest goes on. A worker that is killed
    costs the job that it was at: that is tried once more, by a new worker; where this one is killed too, VestigeError
    is raised.
    """
    # One thread per worker, set before the libraries load; spawned workers inherit it.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    others = set(multiprocessing.active_children())
    pool: list[_Worker] = []
    hire = partial(_hire, work, devices(device))
    try:
        yield lambda jobs, on_result: _gather(pool, hire, workers, jobs, on_result)
        for worker in pool:
            worker.dismiss()
    except BaseException:
        # Not the pool's own list: an interrupt may come between a worker's start and its entry there.
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise


def _gather(
    pool: list[_Worker],
    hire: Callable[[list[_Worker]], _Worker],
    workers: int,
    jobs: Sequence[Job],
    on_result: Callable[[Job, Result], None],
) -> list[Failure[Job]]:
    failures: list[Failure[Job]] = []
    left, killed = deque(range(len(jobs))), Counter[int]()
    while left or any(worker.job is not None for worker in pool):
        if _interrupted.is_set():
            raise KeyboardInterrupt
        while left and (idle := _idle(pool, workers, hire)):
            idle.take(left.popleft(), jobs)
        for worker in _heard(pool):
            number, answer = worker.job, worker.answer()
            worker.job = None
            if answer is None:
                pool.remove(worker)
                worker.process.join()
                if number is None:
                    continue
                killed[number] += 1
                if killed[number] > 1:
                    raise VestigeError(KILLED)
                say("a worker process was killed; the run it was at is tried once more")
                left.appendleft(number)
            elif number is not None:
                error, result = answer
                if isinstance(error, VestigeError):
                    raise error
                if error is not None:
                    failures.append((jobs[number], error))
                else:
                    on_result(jobs[number], result)
    return failures


def why(error: BaseException) -> str:
    """An error in a line, as it is listed."""
    return "".join(traceback.format_exception_only(error)).strip()


@dataclass
class _Worker:
    """A process, the pipe to it, its device, and the number of the job that it is at."""

    process: BaseProcess
    pipe: Connection
    device: str
    job: int | None = None

    def take(self, number: int, jobs: Sequence[Any]) -> None:
        self.job = number
        with contextlib.suppress(OSError):  # it is dead, and `answer` says so
            self.pipe.send(jobs[number])

    def answer(self) -> tuple[VestigeError | str | None, Any] | None:
        """What went wrong, or None, and what the job returned; None alone for a worker that was killed."""
        try:
            answer: tuple[VestigeError | str | None, Any] = self.pipe.recv()
        except (EOFError, OSError):
            return None
        return answer

    def dismiss(self) -> None:
        self.pipe.close()
        self.process.join()


def _idle(pool: list[_Worker], workers: int, hire: Callable[[list[_Worker]], _Worker]) -> _Worker | None:
    """A worker without a job, a new one where there may be more of them."""
    idle = next((worker for worker in pool if worker.job is None), None)
    if idle is None and len(pool) < workers:
        idle = hire(pool)
        pool.append(idle)
    return idle


def _hire(work: Callable[[Any], Any], places: Sequence[str], pool: list[_Worker]) -> _Worker:
    device = freest(places, [worker.device for worker in pool])
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work, device))
    process.start()
    theirs.close()  # so that its death ends the pipe
    return _Worker(process, ours, device)


def _heard(pool: Iterable[_Worker]) -> list[_Worker]:
    """The workers that have answered or died, after a second at most."""
    pool = list(pool)
    ready = wait_for([worker.pipe for worker in pool], 1.0)
    return [worker for worker in pool if worker.pipe in ready]


def _serve(pipe: Connection, work: Callable[[Any], Any], device: str) -> None:
    """The life of a worker: a job, its answer, the next one, until the pipe ends."""
    settle(device)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        answer: tuple[VestigeError | str | None, Any]
        try:
            answer = (None, work(job))
        except VestigeError as error:
            answer = (error, None)
        except Exception as error:
            answer = (why(error), None)
        pipe.send(answer)


def note_interrupts() -> None:
    """Remember an interrupt as well as raising it: Python drops one that falls into a callback during an import."""

    def note(number: int, frame: object) -> None:
        _interrupted.set()
        raise KeyboardInterrupt

    _interrupted.clear()
    signal.signal(signal.SIGINT, note)


def say(message: str) -> None:
    """Progress goes to standard error, a whole line at a time so that workers do not mix."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def paced(say: Say, what: str, steps: int | None = None, every: float = 10.0) -> Callable[[int, Tensor], None]:
    """An on_step that speaks at most every few seconds."""
    last = time.time()

    def on_step(step: int, value: Tensor) -> None:
        nonlocal last
        if time.time() - last >= every:
            last = time.time()
            of = f" of {steps}" if steps else ""
            say(f"{what}: step {step + 1}{of}, objective {value:.4f}")

    return on_step


def check_device(device: str) -> None:
    """Raise MissingError where the models are to live on a device that is not there.

    Raises InputError in one of several processes that were started as one: they would all do the same.
    """
    if (times := os.environ.get("WORLD_SIZE", "1")) != "1":
        raise InputError(
            f"vestige was started {times} times side by side (accelerate launch, torchrun); start it once: with "
            "--device cuda it uses every GPU that it sees (CUDA_VISIBLE_DEVICES), by processes of its own"
        )
    if device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise MissingError(
            f"--device {device} was asked for, and torch {torch.__version__} finds no such device; install a build "
            "of torch with CUDA on a machine with an NVIDIA GPU (pip install torch), or leave --device out"
        )


def devices(device: str) -> tuple[str, ...]:
    """The devices that a name stands for: "cuda" for every GPU that this process sees (CUDA_VISIBLE_DEVICES)."""
    if device == "cpu":
        return ("cpu",)
    import torch

    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))


def freest(places: Sequence[str], taken: Sequence[str]) -> str:
    """The first of the devices that are taken least often."""
    return min(places, key=taken.count)


def trim() -> None:
    """Give memory that was freed back to the system, where the C library (glibc) keeps it for later."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def one_thread() -> None:
    """Compute in this process as a worker does, so that the results are the same to the bit."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it torch refuses CUDA's products
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # It would fill all new memory with NaN, to show who reads what was never written: a quarter of a CNN's training.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.allow_tf32 = False  # on a GPU convolutions else keep 10 of the 23 bits behind the point


def settle(device: str) -> None:
    """In a new process: one thread, one device, and no life after the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    one_thread()
    if device != "cpu":
        import torch

        torch.cuda.set_device(device)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)
