"""Finds the helmd of a home, connects, and goes on with the next one where a stream breaks."""
import fcntl
import json
import pathlib
import time
from collections.abc import Callable, Iterator

import grpc
from helm.v1 import helm_pb2_grpc

LOOK_EVERY = 0.2
"""Seconds between two looks for the next helmd."""


class NotRunning(Exception):
    """No helmd holds the home."""


def socket_of(home: str | pathlib.Path) -> str:
    """The lock file says where helmd listens; the lock on it, whether one is there."""
    path = pathlib.Path(home) / "instance/helmd.lock"
    try:
        with path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = lock.read()
                if text:
                    return json.loads(text)["socket"]
    except FileNotFoundError:
        pass
    raise NotRunning(f"helmd is not running for {home}; start it: helmctl --home {home} daemon start")


def channel_to(home: str | pathlib.Path) -> grpc.Channel:
    """The authority must be `localhost`: others are refused on a Unix socket."""
    return grpc.insecure_channel(f"unix:{socket_of(home)}", options=[("grpc.default_authority", "localhost")])


def stub(home: str | pathlib.Path) -> helm_pb2_grpc.HelmStub:
    """For calls. Give each long stream a connection of its own."""
    return helm_pb2_grpc.HelmStub(channel_to(home))


def away(error: grpc.RpcError) -> bool:
    """helmd has gone or is leaving: the next one may answer."""
    return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)


def resuming(home: str | pathlib.Path, ask: Callable) -> Iterator:
    """Messages of the stream that `ask(stub)` opens, without an end: where it breaks, the next helmd is asked again.
    `ask` reads where it goes on (a cursor, the id of an event) from what it has been handed so far."""
    while True:
        try:
            with channel_to(home) as channel:
                yield from ask(helm_pb2_grpc.HelmStub(channel))
        except NotRunning:
            pass
        except grpc.RpcError as error:
            if not away(error):
                raise
        time.sleep(LOOK_EVERY)


def why(error: grpc.RpcError) -> str:
    """The word for programs and the sentence for people."""
    words = dict(error.trailing_metadata() or ())
    return f"{words.get('helm-reason', error.code().name.lower())}: {error.details()}"
