#!/usr/bin/env python3
"""HTTP/2 requests that no library would send, frame by frame over TLS. Prints JSON: for each attack, the status of the first answer or what ended it.

SWIFTLET_TEST is JSON: port; host, of an open share; other, of a share behind a password."""
import json
import os
import socket
import ssl
import struct
import sys

GIVEN = json.loads(os.environ["SWIFTLET_TEST"])
HOST, OTHER = GIVEN["host"], GIVEN["other"]


def connect(protocols, name=HOST):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(protocols)
    return context.wrap_socket(socket.create_connection(("127.0.0.1", GIVEN["port"]), timeout=20), server_hostname=name)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def number(value, bits):
    """RFC 7541, 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    out, value = [most], value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + [value])


def literal(pairs):
    """Fields as literals without indexing, nothing of them checked."""
    out = b""
    for name, value in pairs:
        out += b"\x00" + number(len(name.encode("latin-1")), 7) + name.encode("latin-1")
        out += number(len(value.encode("latin-1")), 7) + value.encode("latin-1")
    return out


def request(method="GET", path="/", authority=HOST, more=(), before=()):
    return list(before) + [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)] + list(more)


def attack(pairs, body=None, trailers=None):
    """- Returns: 'status N', 'reset', 'goaway' or 'closed'."""
    with connect(["h2"]) as channel:
        out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
        out += frame(1, 4 | (1 if body is None and trailers is None else 0), 1, literal(pairs))
        if body is not None:
            out += frame(0, 0 if trailers is not None else 1, 1, body)
        if trailers is not None:
            out += frame(1, 5, 1, literal(trailers))
        data = b""
        try:
            channel.sendall(out)
            while True:
                while len(data) < 9 or len(data) < 9 + int.from_bytes(data[:3], "big"):
                    more = channel.recv(65536)
                    if not more:
                        return "closed"
                    data += more
                size, kind, stream = int.from_bytes(data[:3], "big"), data[3], int.from_bytes(data[5:9], "big")
                payload, data = data[9:9 + size], data[9 + size:]
                if kind == 1 and stream == 1:
                    # The first field of an answer is its status: of the static table, or a literal with name 8 of it.
                    known = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}
                    if payload[0] in known:
                        return f"status {known[payload[0]]}"
                    return "status " + decode(payload)
                if kind == 3 and stream == 1:
                    return "reset"
                if kind == 7:
                    return "goaway"
        except (ConnectionError, ssl.SSLError):
            return "closed"


def decode(payload):
    """The value of a literal status; digits may be coded by Huffman (0 to 9 are codes 0, 1, 2 of five bits and 25 to 31 of six)."""
    length, text = payload[1], payload[2:2 + (payload[1] & 0x7F)]
    if not length & 0x80:
        return text.decode("latin-1")
    bits = "".join(f"{byte:08b}" for byte in text)
    digits = ""
    while len(digits) < 3 and bits:
        five, six = int(bits[:5].ljust(5, "1"), 2), int(bits[:6].ljust(6, "1"), 2)
        if five <= 2:
            digits, bits = digits + str(five), bits[5:]
        elif 25 <= six <= 31:
            digits, bits = digits + str(six - 22), bits[6:]
        else:
            break
    return digits


SMUGGLED = f"GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
seen = {"good": attack(request(path="/good")), "good body": attack(request("POST", "/good-body", more=[("content-length", "5")]), b"hello")}
for name, arguments in {
    "length below the body": (request("POST", "/short", more=[("content-length", "0")]), SMUGGLED.encode()),
    "length above the body": (request("POST", "/a", more=[("content-length", "500")]), b"hello"),
    "two lengths": (request("POST", "/a", more=[("content-length", "5"), ("content-length", str(5 + len(SMUGGLED)))]), b"hello" + SMUGGLED.encode()),
    "length with a sign": (request("POST", "/a", more=[("content-length", "+5")]), b"hello"),
    "transfer-encoding": (request("POST", "/a", more=[("transfer-encoding", "chunked")]), b"0\r\n\r\n" + SMUGGLED.encode()),
    "connection": (request(more=[("connection", "transfer-encoding"), ("transfer-encoding", "chunked")]),),
    "upper case": (request("POST", "/a", more=[("Transfer-Encoding", "chunked")]), b"0\r\n\r\n" + SMUGGLED.encode()),
    "line in a value": (request(more=[("x", "y\r\n\r\n" + SMUGGLED)]),),
    "bare line feed in a value": (request(more=[("x", "y\ntransfer-encoding: chunked")]),),
    "zero in a value": (request(more=[("x", "a\0b")]),),
    "line in a name": (request(more=[("x: y\r\ntransfer-encoding", "chunked")]),),
    "colon in a name": (request(more=[("transfer-encoding: chunked\r\nx", "y")]),),
    "space in a name": (request(more=[("transfer-encoding ", "chunked")]),),
    "empty name": (request(more=[("", "x")]),),
    "line in the path": (request(path="/a HTTP/1.1\r\nHost: x\r\n\r\nGET /smuggled"),),
    "space in the path": (request(path="/smuggled HTTP/1.1"),),
    "line in the method": (request("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\nGET", "/a"),),
    "space in the method": (request("GET /smuggled", "/a"),),
    "path twice": (request(path="/smuggled", before=[(":path", "/a")]),),
    "method twice": (request(before=[(":method", "POST")], path="/smuggled"),),
    "no path": ([(":method", "GET"), (":scheme", "https"), (":authority", HOST)],),
    "empty path": (request(path=""),),
    "foreign path": (request(path="http://127.0.0.1/smuggled"),),
    "pseudo field behind": ([("x", "y")] + request(path="/smuggled"),),
    "unknown pseudo field": (request(more=[], before=[(":smuggled", "1")]),),
    "connect": ([(":method", "CONNECT"), (":authority", "127.0.0.1:80")],),
    "extended connect": (request("CONNECT", "/smuggled", more=[], before=[(":protocol", "websocket")]),),
    "authority twice": (request(before=[(":authority", OTHER)], path="/smuggled"),),
    "host beside the authority": (request(path="/smuggled", more=[("host", OTHER)]),),
    "authority of another": (request(path="/smuggled", authority=OTHER),),
    "authority with a user": (request(path="/smuggled", authority="x@" + OTHER),),
    "pseudo field in trailers": (request("POST", "/trailers"), b"hello", [(":path", "/smuggled")]),
    "length in trailers": (request("POST", "/trailers"), b"hello", [("content-length", "0")]),
    "line in trailers": (request("POST", "/trailers"), b"hello", [("x", "y\r\n\r\n" + SMUGGLED)]),
    "many fields": (request(path="/smuggled", more=[(f"x-{i}", "y") for i in range(400)]),),
}.items():
    seen[name] = attack(*arguments)



def flood(frames, count=40_000):
    """Sends frames of a kind and reads nothing. - Returns: 'closed', 'stalled' where the server reads no more either, or 'survived'."""
    with connect(["h2"]) as channel:
        channel.settimeout(5)
        try:
            channel.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
            for begin in range(0, count, 100):
                channel.sendall(b"".join(frames(index) for index in range(begin, begin + 100)))
            while channel.recv(65536):
                pass
            return "closed"
        except TimeoutError:
            return "survived" if begin + 100 >= count else "stalled"
        except (ConnectionError, ssl.SSLError):
            return "closed"


HEAD = literal(request(path="/flood"))
for name, frames in {
    "flood of resets": lambda index: frame(1, 5, 2 * index + 1, HEAD) + frame(3, 0, 2 * index + 1, struct.pack(">I", 8)),
    "flood of continuations": lambda index: frame(9, 0, 1, literal([("x", "y" * 100)])) if index else frame(1, 1, 1, HEAD),
    "flood of pings": lambda index: frame(6, 0, 0, b"12345678"),
    "flood of settings": lambda index: frame(4, 0, 0, struct.pack(">HI", 3, 100)),
    "flood of empty data": lambda index: frame(0, 0, 1) if index else frame(1, 4, 1, HEAD),
    "flood of priorities": lambda index: frame(2, 0, 2 * index + 1, struct.pack(">IB", 0, 1)),
    "flood of windows": lambda index: frame(8, 0, 0, struct.pack(">I", 1)),
}.items():
    seen[name] = flood(frames)

# The name in the TLS handshake is not the one of the request.
with connect(["http/1.1"], HOST) as channel:
    channel.sendall(f"GET /smuggled HTTP/1.1\r\nHost: {OTHER}\r\nConnection: close\r\n\r\n".encode())
    seen["handshake for another"] = "status " + channel.recv(65536)[9:12].decode()
seen["good after"] = attack(request(path="/good-after"))
json.dump(seen, sys.stdout)
