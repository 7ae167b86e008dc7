"""Restarts a service when it has more memory than it should, once each time.
usage: python -m helm_examples.restart_when HOME NAME MEGABYTES"""
import sys

import grpc
from helm.v1 import helm_pb2

from .client import resuming, stub, why


def restart(home: str, name: str) -> str:
    """Waits for the outcome: the last message of the stream has it."""
    outcome = None
    for progress in stub(home).Restart(helm_pb2.RestartRequest(names=[name])):
        if progress.HasField("outcome"):
            outcome = progress.outcome
    return f"{outcome.result}: {outcome.message}" if outcome else "helmd has gone; the next one goes on with it"


def main(home: str, name: str, megabytes: float) -> None:
    # `numbers`: new samples (every 5 s) are changes, too.
    request = helm_pb2.WatchStatusRequest(names=[name], numbers=True)
    restarted = None
    for change in resuming(home, lambda helm: helm.WatchStatus(request)):
        for service in change.services:
            used = service.memory_bytes / 2**20
            # A run is restarted once: what is told of it on its way out is no reason to do it again.
            if service.state == "running" and used > megabytes and service.run != restarted:
                restarted = service.run
                print(f"{name} has {used:.0f} MB: restart", flush=True)
                print(restart(home, name), flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
    except grpc.RpcError as error:
        sys.exit(why(error))
    except KeyboardInterrupt:
        pass
