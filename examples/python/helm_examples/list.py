"""Services with what they need and how they are.  usage: python -m helm_examples.list HOME"""
import sys

import grpc
from helm.v1 import helm_pb2

from .client import NotRunning, stub, why


def main(home: str) -> None:
    helm = stub(home)
    statuses = {s.name: s for s in helm.Status(helm_pb2.StatusRequest()).services}
    for service in helm.List(helm_pb2.ListRequest()).services:
        now = statuses[service.name]
        needs = ", ".join(f"{d.service} ({d.condition})" for d in service.depends_on)
        pid = f" pid {now.pid}" if now.HasField("pid") else ""
        print(f"{service.name}: {now.state}{pid}, {now.health}" + (f"; needs {needs}" if needs else ""))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except NotRunning as error:
        sys.exit(str(error))
    except grpc.RpcError as error:
        sys.exit(why(error))
