#!/usr/bin/env python3
"""Makes calls of the CRI. On standard input a line for each: `METHOD {the request as JSON}`; on standard output a line
for each: the response as JSON, or `error: …`."""

import sys

import grpc
from google.protobuf import json_format

sys.path.insert(0, "/usr/local/lib/cri")
import api_pb2

services = api_pb2.DESCRIPTOR.services_by_name.values()
methods = {method.name: method for service in services for method in service.methods}
channel = grpc.insecure_channel("unix:///run/containerd/containerd.sock")

for line in sys.stdin:
    name, request = line.split(" ", 1)
    method = methods[name]
    call = channel.unary_unary(
        f"/{method.containing_service.full_name}/{name}",
        request_serializer=method.input_type._concrete_class.SerializeToString,
        response_deserializer=method.output_type._concrete_class.FromString,
    )
    try:
        response = call(json_format.Parse(request, method.input_type._concrete_class()), timeout=180)
        print(json_format.MessageToJson(response, True, True, indent=None), flush=True)
    except (grpc.RpcError, json_format.ParseError) as error:
        reason = error.details() if isinstance(error, grpc.RpcError) else str(error)
        print("error: " + " ".join(reason.split()), flush=True)
