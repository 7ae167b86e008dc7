"""What a service prints, each line once, over restarts of helmd.  usage: python -m helm_examples.follow HOME NAME"""
import sys

import grpc
from helm.v1 import helm_pb2

from .client import resuming, why


def main(home: str, name: str) -> None:
    request = helm_pb2.OutputRequest(name=name, follow=True, lines=10)
    for chunk in resuming(home, lambda helm: helm.Output(request)):
        # Where the next helmd is asked to go on. The first chunk has a cursor also where there are no lines yet.
        request.after.CopyFrom(chunk.cursor)
        for line in chunk.lines:
            sys.stdout.buffer.write(line.text + (b"" if line.partial else b"\n"))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2])
    except grpc.RpcError as error:
        sys.exit(why(error))
    except KeyboardInterrupt:
        pass
