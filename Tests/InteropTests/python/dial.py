#!/usr/bin/env python3
"""dial.py IDENTITY_FILE SERVICE [--bytes 300000] [--http] [--terminator NAME] [--hold]

Dials an echo service, sends that many bytes and compares what returns. --http sends one GET instead and reports status and body.
--hold keeps an echo connection open, echoing 64 bytes every 200 ms until it breaks: `alive` once, then `ended` with the reason.
Reports `dialed`, then `echoed` or `answered`. Exit 1 when the dial is refused (event `dialed`, ok false), 2 when bytes differ or are missing."""
import argparse
import hashlib
import http.client
import os
import socket
import threading
import time

import openziti
from openziti import zitilib

from report import fail, report


def pattern(count):
    """Bytes that show reordering as well as loss: a counter hashed block by block."""
    out = bytearray()
    block = 0
    while len(out) < count:
        out += hashlib.sha256(block.to_bytes(8, "big")).digest()
        block += 1
    return bytes(out[:count])


def echoed(connection, count):
    sent = pattern(count)
    sender = threading.Thread(target=connection.sendall, args=(sent,), daemon=True)
    sender.start()
    got = bytearray()
    while len(got) < count:
        data = connection.recv(65536)
        if not data:
            break
        got += data
    sender.join(10)
    equal = bytes(got) == sent
    report("echoed", ok=equal, sent=count, received=len(got), sha256=hashlib.sha256(bytes(got)).hexdigest())
    return 0 if equal else 2


def answered(connection, service):
    client = http.client.HTTPConnection(service)
    client.sock = connection
    client.request("GET", "/")
    answer = client.getresponse()
    body = answer.read()
    report("answered", ok=answer.status == 200, status=answer.status, body=body.decode(errors="replace"))
    return 0 if answer.status == 200 else 2


def held(connection):
    told = False
    reason = "closed by the other side"
    try:
        while True:
            connection.sendall(b"k" * 64)
            got = 0
            while got < 64:
                data = connection.recv(64 - got)
                if not data:
                    raise EOFError
                got += len(data)
            if not told:
                report("alive", ok=True)
                told = True
            time.sleep(0.2)
    except EOFError:
        pass
    except OSError as error:
        reason = str(error)
    report("ended", ok=told, reason=reason)
    return 0 if told else 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("identity")
    parser.add_argument("service")
    parser.add_argument("--bytes", type=int, default=300_000)
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--terminator")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for everything")
    options = parser.parse_args()

    watchdog = threading.Timer(options.timeout, lambda: fail("timeout", TimeoutError(f"not done after {options.timeout} s"), 3))
    watchdog.daemon = True
    watchdog.start()
    try:
        context = openziti.load(options.identity)
        descriptor = zitilib.ziti_socket(socket.SOCK_STREAM)
        # zitilib.connect of 0.6.0 cannot say "any terminator" (bytes(None) raises), so the C function is called as it would.
        terminator = options.terminator.encode() if options.terminator else None
        zitilib.check_error(zitilib._ziti_connect(descriptor, context._ctx, options.service.encode(), terminator))
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
    except Exception as error:
        fail("dialed", error)
    report("dialed", ok=True, service=options.service)
    if options.hold:
        watchdog.cancel()
        code = held(connection)
    elif options.http:
        code = answered(connection, options.service)
    else:
        code = echoed(connection, options.bytes)
    os._exit(code)


if __name__ == "__main__":
    main()
