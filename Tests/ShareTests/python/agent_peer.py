"""A stranger to Swiftlet's gRPC: Google's grpcio, with messages coded by hand from the numbers of zrok 2.0.4 and 1.1.11.

`serve`: an agent of either generation, or (3) a hostile one, whose answers the test knows; prints its port as JSON, and at the end of its input what it was asked.
`ask`: a client of an agent at a socket; prints what it was answered. Input comes as JSON in SWIFTLET_TEST."""
import json
import os
import sys
import time
from concurrent import futures

import grpc


def varint(number):
    out = bytearray()
    while True:
        byte = number & 0x7F
        number >>= 7
        out.append(byte | (0x80 if number else 0))
        if not number:
            return bytes(out)


def encode(fields):
    """Pairs of number and value: text, bytes (a message), or a whole number."""
    out = b""
    for number, value in fields:
        if isinstance(value, (str, bytes)):
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
        else:
            out += varint(number << 3) + varint(int(value))
    return out


def decode(data):
    """A list of pairs in the order they came; length-delimited fields as bytes."""
    at, fields = 0, []

    def read():
        nonlocal at
        shift = number = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return number

    while at < len(data):
        key = read()
        if key & 7 == 0:
            fields.append((key >> 3, read()))
        elif key & 7 == 2:
            size = read()
            fields.append((key >> 3, data[at : at + size]))
            at += size
        else:
            raise ValueError(f"wire type {key & 7}")
    return fields


def shown(data):
    """Fields as JSON: text where it is text, else numbers of the message within."""
    out = []
    for number, value in decode(data):
        out.append([number, value if isinstance(value, int) else value.decode()])
    return out


def serve(generation):
    asked = []
    first = generation == 1
    status = {
        # AccessDetail; ShareDetail, whose numbers moved between the generations.
        1: encode([
            (1, encode([(1, "fe-token"), (2, "their-share"), (3, "127.0.0.1:9191"), (4, "x-a: b")] + ([] if first else [(5, "active")]))),
            (2, encode([(1, "tok1"), (2, "public"), (3, "proxy"), (4, True), (5, "https://tok1.example"), (6, "http://127.0.0.1:1"), (7, True), (8, "active")]
                if first else
                [(1, ""), (2, "public"), (3, "web"), (5, "/srv"), (7, "retrying"),
                 (8, encode([(1, "err_12345678"), (2, 3), (3, "no such directory"), (4, encode([(1, 1700000000)]))]))])),
        ]),
    }
    answers = {
        "Version": encode([(1, "v1.1.11 [abc]" if first else "v2.0.4 [abc]"), (2, "127.0.0.1:8888")]),
        "Status": status[1],
        "SharePublic": encode([(1, "tok2"), (2, "https://tok2.example"), (2, "https://name.example")]),
        "SharePrivate": encode([(1, "tok3")]),
        "ShareReserved": encode([(1, "tok4"), (2, "proxy"), (3, "public"), (4, "https://tok4.example"), (5, "http://x")]),
        "ReleaseShare": b"",
        "AccessPrivate": encode([(1, "fe2")]),
        "ShareHttpHealthcheck": encode([(2, "unexpected status code; got '500', want '200'")]),
    }

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            service, method = details.method.strip("/").split("/")

            def answer(request, context):
                asked.append([service, method, shown(request) if method != "SharePublic" or first else raw_names(request)])
                if generation == 3 and method == "Version":
                    return encode([(1, "v2." + ("x" * (2 << 20) if not asked[1:] else "0"))])
                if generation == 3 and method == "Status":
                    time.sleep(3)
                if generation == 3 and method == "AccessPrivate":
                    time.sleep(11)
                if method == "ReleaseAccess":
                    context.abort(grpc.StatusCode.UNKNOWN, "agent has no access with frontend token or failure id 'nope'")
                if method == "ShareHttpHealthcheck" and first:
                    context.abort(grpc.StatusCode.UNIMPLEMENTED, "unknown method")
                return answers[method]

            return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=None, response_serializer=None)

    def raw_names(request):
        out = []
        for number, value in decode(request):
            out.append([number, shown(value) if number == 3 else value if isinstance(value, int) else value.decode()])
        return out

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(json.dumps({"port": port}), flush=True)
    sys.stdin.read()
    server.stop(0)
    print(json.dumps({"asked": asked}), flush=True)


def ask(given):
    channel = grpc.insecure_channel("unix:" + given["socket"])
    grpc.channel_ready_future(channel).result(timeout=20)
    out = []

    def call(method, fields):
        try:
            answer = channel.unary_unary("/Agent/" + method)(encode(fields), timeout=40)
            out.append([method, "ok", decode(answer)])
            return decode(answer)
        except grpc.RpcError as error:
            out.append([method, error.code().name, error.details()])
            return []

    call("Version", [])
    made = call("SharePublic", [(1, given["target"]), (3, encode([(1, "public"), (2, "by-grpc")])), (4, "web")])
    call("SharePublic", [(1, given["target"]), (3, encode([(1, "public"), (2, "by-grpc")]))])
    call("SharePublic", [(1, "/no/such/directory"), (4, "web")])
    call("SharePrivate", [(1, given["target"]), (3, "nonsense")])
    call("Status", [])
    call("NoSuchMethod", [])
    call("ReleaseShare", [(1, "nope")])
    # What is no message at all.
    try:
        channel.unary_unary("/Agent/ReleaseShare")(b"\xff\xff\xff", timeout=20)
        out.append(["garbage", "ok", []])
    except grpc.RpcError as error:
        out.append(["garbage", error.code().name, error.details()])
    try:
        channel.unary_unary("/Agent/ReleaseShare")(encode([(1, "x" * (2 << 20))]), timeout=20)
        out.append(["huge", "ok", []])
    except grpc.RpcError as error:
        out.append(["huge", error.code().name, ""])
    token = dict(made).get(1, b"").decode()
    call("ReleaseShare", [(1, token)])
    channel.close()

    def plain(value):
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return [plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value

    print(json.dumps({"answers": plain(out), "token": token}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]))
    else:
        ask(json.loads(os.environ["SWIFTLET_TEST"]))
