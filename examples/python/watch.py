"""Watches the status of a home's services.  usage: watch.py HOME
needs: pip install grpcio grpcio-tools; generate the client once:
  python -m grpc_tools.protoc -I ../../proto --python_out=. --grpc_python_out=. helm/v1/helm.proto"""
import json
import pathlib
import sys

import grpc
from helm.v1 import helm_pb2, helm_pb2_grpc

# The lock file of the home names helmd's socket. The authority must be `localhost`.
home = pathlib.Path(sys.argv[1])
socket = json.loads((home / "instance/helmd.lock").read_text())["socket"]
channel = grpc.insecure_channel(f"unix:{socket}", options=[("grpc.default_authority", "localhost")])
helm = helm_pb2_grpc.HelmStub(channel)

for change in helm.WatchStatus(helm_pb2.WatchStatusRequest()):
    for service in change.services:
        print(f"{service.name}: {service.state} {service.health} {service.reason}", flush=True)
