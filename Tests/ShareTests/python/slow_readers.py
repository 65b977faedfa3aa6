#!/usr/bin/env python3
"""Many clients that ask for a big file and do not read it, and then one that behaves. Prints JSON.

SWIFTLET_TEST is JSON: port; big and small, hosts of shares; count, of slow clients."""
import json
import os
import socket
import time

GIVEN = json.loads(os.environ["SWIFTLET_TEST"])


def ask(host, path, receive=None):
    client = socket.socket()
    if receive:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    client.settimeout(20)
    client.connect(("127.0.0.1", GIVEN["port"]))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    return client


slow = [ask(GIVEN["big"], "/file", 4096) for _ in range(GIVEN["count"])]
for client in slow:
    client.recv(100)
# What lies between is full now.
time.sleep(1)
good, longest = 0, 0.0
for turn in range(40):
    begun = time.monotonic()
    try:
        with ask(GIVEN["small"] if turn % 2 else GIVEN["big"], "/page") as client:
            text = b""
            while more := client.recv(65536):
                text += more
        good += text.startswith(b"HTTP/1.1 200") and text.endswith(b"the page")
    except OSError:
        pass
    longest = max(longest, time.monotonic() - begun)
    if longest > 20:
        break
# A slow one that reads after all gets its file.
size = 0
slow[0].settimeout(60)
while more := slow[0].recv(1 << 20):
    size += len(more)
print(json.dumps({"good": good, "longest": longest, "size": size}))
