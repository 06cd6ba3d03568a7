"""A Dask cluster that exists already: who may be talked to, and who may join. Not here: the runs.

Dask's messages are pickled, so whoever reaches a scheduler can run code on all of its machines.
"""

import asyncio
import ipaddress
import logging
import platform
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import uuid4

from distributed import Client, Worker, WorkerPlugin
from distributed.utils import silence_logging_cmgr
from distributed.versions import VersionMismatchWarning
from tqdm import tqdm

from fmnist_lib.data.obtain import DataError, accept_files, ensure_data, read_files
from fmnist_lib.errors import UserError
from fmnist_lib.runs.environment import code_sha256, package_version

TIMEOUT_SECONDS = 10  # for a scheduler to answer
DATA_TIMEOUT_SECONDS = 300  # for the data to come from the client
COMPARED = ("torch", "fmnist_lib", "dask", "distributed")


class MismatchError(Exception):
    """A worker is not what the runs need; the message names it and says in what it differs."""


def check_address(address: str, *, trust_network: bool = False) -> None:
    """Raise `UserError` for what is no scheduler's address, or open to strangers."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port
    except ValueError:
        usable = False
    if not usable:
        raise UserError(
            f"scheduler: {address!r} is no address; allowed: tcp://host:port, tls://host:port"
        )
    if parts.scheme == "tcp" and not trust_network and not is_loopback(parts.hostname):
        raise UserError(
            f"scheduler: {address} is neither encrypted nor on this machine, so that others could "
            "run code here; allowed: tls://…, or --trust-network where nobody else is"
        )


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address is this machine's own, not seen from beyond."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """Open a client on a scheduler that admits only workers like us; raise `UserError`."""
    call, expected = f"fmnist-{uuid4().hex}", describe_software()
    quiet = warnings.catch_warnings(action="ignore", category=VersionMismatchWarning)
    with silence_logging_cmgr(logging.CRITICAL), quiet:  # we compare versions ourselves
        try:
            client = Client(address, timeout=TIMEOUT_SECONDS, set_as_default=False)
        except (OSError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"scheduler: no answer from {address} ({reason})") from None
        with client:
            client.subscribe_topic(call, lambda event: say(event[1]))
            for worker, found in client.run(describe_software, on_error="return").items():
                if problem := difference(found, expected):
                    client.retire_workers([worker])
                    say(f"refused the worker {worker}: {problem}")
            try:
                client.register_plugin(Gate(expected, call), name=call)
            except MismatchError as error:  # it joined just now
                say(str(error))
            if not client.scheduler_info(n_workers=-1)["workers"]:
                say(f"waiting for workers at {address}")
            try:
                yield client
            finally:
                if client.status == "running":
                    client.unregister_worker_plugin(call)


def describe_software(dask_worker: Worker | None = None) -> dict[str, str]:
    """Return what must be the same for results to be the same.

    Threads, too: the runs that a worker takes at a time would share one random state.
    """
    return {
        "Python": platform.python_version(),
        **{name: package_version(name) for name in COMPARED},
        "training code": code_sha256()[:12],
        "threads": str(dask_worker.state.nthreads if dask_worker else 1),
    }


def difference(found: dict[str, str] | Exception, expected: dict[str, str]) -> str:
    """Return in what a worker differs, by name; empty for nothing."""
    if isinstance(found, Exception):
        return f"{type(found).__name__}: {found}"
    return ", ".join(
        f"{name} is {found.get(name, 'missing')}, not {value}"
        for name, value in expected.items()
        if found.get(name) != value
    )


@dataclass
class Gate(WorkerPlugin):
    """Lets a worker join if its software is ours; else raises `MismatchError`, told to the client.

    It speaks up while it is unpickled, since a worker shrugs off errors of a plugin's `setup` but
    does not start with one that it cannot read.
    """

    expected: dict[str, str]
    topic: str

    def __setstate__(self, state: dict) -> None:
        self.__dict__ |= state
        (worker,) = Worker._instances  # no task runs yet, for which `get_worker` would know it
        if problem := difference(describe_software(worker), self.expected):
            message = f"refused the worker {worker.address}: {problem}"
            worker.log_event(self.topic, message)
            raise MismatchError(message)


# --- data for workers that cannot get it ---

data_arrived = threading.Event()  # on a worker


def have_data(worker: Worker, topic: str) -> None:
    """Make sure that this worker has the data, from the client where nobody else has it."""
    try:
        ensure_data()
    except DataError as error:
        worker.log_event(topic, worker.address)
        if not data_arrived.wait(DATA_TIMEOUT_SECONDS):
            raise DataError(f"{error} | from the client: nothing came") from None
        ensure_data()


def send_data(client: Client, topic: str) -> None:
    """Send the files to every worker that asks for them, once."""
    sent: dict[str, asyncio.Task] = {}

    async def send(worker: str) -> None:
        files = await asyncio.to_thread(read_files)
        await client.run(receive_data, files, workers=[worker])

    def asked(event: tuple[float, str]) -> None:  # in the client's loop, which must not wait
        if (worker := event[1]) not in sent:
            sent[worker] = asyncio.ensure_future(send(worker))

    client.subscribe_topic(topic, asked)


async def receive_data(files: dict[str, bytes]) -> None:
    """Verify the files and keep them in this worker's own folder."""
    await asyncio.to_thread(accept_files, files)
    data_arrived.set()


def say(line: str) -> None:
    """Tell the user without disturbing a progress bar."""
    tqdm.write(line, file=sys.stderr)
