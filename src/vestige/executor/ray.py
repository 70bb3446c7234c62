"""Ray: the same jobs on one machine or on a cluster, with the same results. Workers read and write nothing.

What jobs need is put into Ray's memory once; what they return comes home to the process that asked.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from vestige.executor.local import KILLED, Failure, Gather, one_thread, why
from vestige.types import InputError, MissingError, VestigeError

Job = TypeVar("Job")
Result = TypeVar("Result")
PATIENCE = 5.0
"""Seconds that a cluster's address may take to answer."""
LIBRARIES = ("vestige", "torch", "numpy")
"""What must be of the same version everywhere, beside Python and Ray, for results to be the same."""


@contextmanager
def pooled_ray(
    work: Callable[[Job, Mapping[str, Any]], Result],
    workers: int,
    *,
    address: str | None,
    needs: Callable[[Job], Mapping[str, Callable[[], Any]]],
) -> Iterator[Gather[Job, Result]]:
    """Ray, for several lots of jobs, as `pooled` has it; work(job, parts) is done there, one thread each.

    address: HOST:PORT of a cluster's head, or "auto" for the one that this machine belongs to; without one, Ray is
    started here, on loopback, with so many workers. needs(job): the name of each of its parts, and what reads it here,
    once. Raises MissingError without Ray, InputError for an address that does not answer and for a cluster with
    other versions.
    """
    with _connected(address, workers) as ray:
        if address:
            _check_versions(ray)
        kept: dict[str, Any] = {}
        yield lambda jobs, on_result: _gather(ray, kept, work, needs, jobs, on_result)


def _gather(
    ray: Any,
    kept: dict[str, Any],
    work: Callable[[Job, Mapping[str, Any]], Result],
    needs: Callable[[Job], Mapping[str, Callable[[], Any]]],
    jobs: Sequence[Job],
    on_result: Callable[[Job, Result], None],
) -> list[Failure[Job]]:
    failures: list[Failure[Job]] = []
    slots = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    remote = ray.remote(num_cpus=1, max_retries=1)(_task)
    left = deque(jobs)
    running: dict[Any, Job] = {}
    while left or running:
        while left and len(running) < slots:
            job = left.popleft()
            parts = needs(job)
            for name, read in parts.items():
                if name not in kept:
                    kept[name] = ray.put(read())
            running[remote.remote(work, job, list(parts), *(kept[name] for name in parts))] = job
        for done in ray.wait(list(running), timeout=1.0)[0]:
            job = running.pop(done)
            try:
                result = ray.get(done)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, VestigeError):
                    raise error.cause from None
                failures.append((job, why(error.cause)))
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
                raise VestigeError(KILLED) from None
            else:
                on_result(job, result)
    return failures


def check_address(address: str | None) -> None:
    """Raise MissingError where Ray is not installed, InputError where nothing answers at this address."""
    if importlib.util.find_spec("ray") is None:
        raise MissingError("--executor ray needs Ray; get it with: pip install 'vestige[ray]'")
    if address is None or address == "auto":
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if address.startswith("ray://") or not colon or not host or not port.isdigit():
        raise InputError(
            f"--ray-address is HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or auto; got {address!r}"
        )
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"no Ray cluster answers at {address}: {error}; start one with `ray start --head --port=6379`, or leave "
            "--ray-address out to use this machine alone"
        ) from None


@contextmanager
def _connected(address: str | None, workers: int) -> Iterator[Any]:
    check_address(address)
    # Nothing leaves this machine that was not asked for, and a port where something else listens is given up soon.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_gcs_rpc_server_connect_timeout_s", str(int(PATIENCE)))
    os.environ.setdefault("RAY_gcs_server_request_timeout_seconds", str(int(PATIENCE)))
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    ray: Any = importlib.import_module("ray")
    quiet = {"configure_logging": False, "log_to_driver": False}
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            ray.init(
                address="local", num_cpus=workers, _node_ip_address="127.0.0.1", include_dashboard=False, **quiet
            )  # fmt: skip
    except (RuntimeError, ConnectionError, ray.exceptions.RaySystemError) as error:
        raise InputError(f"the Ray cluster at {address or 'this machine'} cannot be used: {error}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_versions(ray: Any) -> None:
    """Raise InputError where a node of the cluster has other versions than this process."""

    def versions(libraries: tuple[str, ...]) -> dict[str, str]:
        # By value: another vestige there could not even be asked.
        import importlib
        import platform

        found = {"python": platform.python_version(), "ray": importlib.import_module("ray").__version__}
        for name in libraries:
            try:
                found[name] = importlib.import_module(name).__version__
            except ImportError:
                found[name] = "not installed"
        return found

    ours = versions(LIBRARIES)
    ask = ray.remote(num_cpus=0, max_retries=0)(versions)
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    nodes = [node for node in ray.nodes() if node["Alive"]]
    asked = [ask.options(scheduling_strategy=affinity(node["NodeID"], False)).remote(LIBRARIES) for node in nodes]
    for node, theirs in zip(nodes, ray.get(asked, timeout=60), strict=True):
        check_versions(ours, theirs, node["NodeManagerAddress"])


def check_versions(ours: Mapping[str, str], theirs: Mapping[str, str], node: str) -> None:
    """Raise InputError where two sets of versions differ, with both named: results would too."""
    other = [f"{name} {theirs.get(name)} there, {ours[name]} here" for name in ours if theirs.get(name) != ours[name]]
    if other:
        raise InputError(
            f"node {node} of the Ray cluster has other versions: {'; '.join(other)}; install the same there"
        )


def _task(work: Callable[[Any, Mapping[str, Any]], Any], job: Any, names: list[str], *parts: Any) -> Any:
    one_thread()
    return work(job, dict(zip(names, parts, strict=True)))
