#!/usr/bin/env python3
"""host.py IDENTITY_FILE SERVICE [--http | --echo] [--terminator NAME]: hosts a service until SIGTERM.

--echo (default) sends back what it gets until the peer closes; --http is Python's own http.server behind an overlay socket.
Reports `hosting` when the service is bound, `accepted` for each connection (with the caller's name as the SDK tells it), `closed` with its byte count."""
import argparse
import http.server
import os
import signal
import threading

import openziti

from report import fail, report

PAGE = b"hello from python through the overlay\n"


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, text, *arguments):
        pass


class Server(http.server.HTTPServer):
    """An HTTPServer whose listening socket is the overlay's."""

    def __init__(self, listener):
        super().__init__(("overlay", 80), Page, bind_and_activate=False)
        self.socket.close()
        self.socket = listener


def echo(connection, peer):
    total = 0
    try:
        while data := connection.recv(65536):
            total += len(data)
            connection.sendall(data)
    except OSError as error:
        report("closed", peer=peer, bytes=total, error=str(error))
    else:
        report("closed", peer=peer, bytes=total)
    finally:
        connection.close()


def accept(listener, serve):
    while True:
        try:
            connection, peer = listener.accept()
        except Exception as error:
            fail("accepted", error)
        report("accepted", peer=peer[0])
        threading.Thread(target=serve, args=(connection, peer[0]), daemon=True).start()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("identity")
    parser.add_argument("service")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--http", action="store_true")
    kind.add_argument("--echo", action="store_true")
    parser.add_argument("--terminator", help="terminator instance to host under")
    options = parser.parse_args()

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        listener = openziti.load(options.identity).bind(options.service, terminator=options.terminator)
        listener.listen(10)
    except Exception as error:
        fail("hosting", error)
    if options.http:
        server = Server(listener)

        def serve(connection, peer):
            server.process_request(connection, (peer, 0))
    else:
        serve = echo
    threading.Thread(target=accept, args=(listener, serve), daemon=True).start()
    report("hosting", ok=True, service=options.service, kind="http" if options.http else "echo")
    while not stopped.wait(0.2):
        pass
    report("stopped", ok=True)
    os._exit(0)


if __name__ == "__main__":
    main()
