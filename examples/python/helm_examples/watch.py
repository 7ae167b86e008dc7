"""Status changes as they come, over restarts of helmd.  usage: python -m helm_examples.watch HOME [NAME...]"""
import sys

import grpc
from helm.v1 import helm_pb2

from .client import resuming, why


def main(home: str, names: list[str]) -> None:
    request = helm_pb2.WatchStatusRequest(names=names)
    for change in resuming(home, lambda helm: helm.WatchStatus(request)):
        for service in change.services:
            print(f"{service.name}: {service.state} {service.health} {service.reason}", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2:])
    except grpc.RpcError as error:
        sys.exit(why(error))
    except KeyboardInterrupt:
        pass
