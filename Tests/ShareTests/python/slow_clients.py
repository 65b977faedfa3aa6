#!/usr/bin/env python3
"""Many clients that send a request's head byte by byte, and meanwhile one that behaves. Prints JSON when all slow ones have been cut off.

SWIFTLET_TEST is JSON: port; host, of a share; count, of slow clients; seconds, after which the rest counts as a hang."""
import json
import os
import resource
import selectors
import socket
import sys
import threading
import time

GIVEN = json.loads(os.environ["SWIFTLET_TEST"])
COUNT = GIVEN["count"]
wanted = COUNT + 200
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if soft < wanted:
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
HEAD = (f"GET /slow HTTP/1.1\r\nHost: {GIVEN['host']}\r\nX-Slow: " + "s" * 1000).encode()
started = time.monotonic()
seen = {"refused": 0, "good": 0, "bad": 0, "longest": 0.0, "most": 0}
done = threading.Event()


def behave():
    """The same process, its own connection for each request."""
    while not done.is_set():
        begun = time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", GIVEN["port"]), timeout=60) as client:
                client.sendall(f"GET /good HTTP/1.1\r\nHost: {GIVEN['host']}\r\nConnection: close\r\n\r\n".encode())
                text = b""
                while more := client.recv(65536):
                    text += more
            seen["good" if text.startswith(b"HTTP/1.1 200") else "bad"] += 1
        except OSError:
            seen["bad"] += 1
        seen["longest"] = max(seen["longest"], time.monotonic() - begun)
        done.wait(0.2)


selector = selectors.DefaultSelector()
slow = {}
for _ in range(COUNT):
    client = socket.socket()
    client.settimeout(30)
    # More ports than one address pair has for the largest counts.
    try:
        client.connect(("127.0.0.1", GIVEN["port"]))
    except OSError:
        seen["refused"] += 1
        client.close()
        continue
    client.setblocking(False)
    slow[client] = 0
    selector.register(client, selectors.EVENT_READ)
seen["connected"], seen["connecting"] = len(slow), time.monotonic() - started
threading.Thread(target=behave, daemon=True).start()


def drop(client):
    selector.unregister(client)
    del slow[client]
    client.close()


tick = time.monotonic()
while slow and time.monotonic() - started < GIVEN["seconds"]:
    for key, _ in selector.select(max(0, tick - time.monotonic())):
        try:
            if not key.fileobj.recv(4096):
                drop(key.fileobj)
        except BlockingIOError:
            pass
        except OSError:
            drop(key.fileobj)
    if time.monotonic() >= tick:
        tick = time.monotonic() + 1
        seen["most"] = max(seen["most"], len(slow))
        for client, position in list(slow.items()):
            try:
                client.send(HEAD[position:position + 1])
                slow[client] = position + 1
            except BlockingIOError:
                pass
            except OSError:
                drop(client)
done.set()
seen["left"], seen["seconds"] = len(slow), time.monotonic() - started
json.dump(seen, sys.stdout)
