#!/usr/bin/env python3
"""resume.py IDENTITY_FILE: logs in by certificate, waits for a line on stdin, and logs in again on the resumed TLS session.

Reports `first` and `second` with the HTTP status; `second` says in `resumed` whether the session was resumed. Standard library only: a resumed
session is what SDKs with session caches do, and no certificate crosses the wire then."""
import json
import os
import socket
import ssl
import sys
import tempfile
import urllib.parse

from report import report


def login(context, url, session):
    host, port = url.hostname, url.port
    with context.wrap_socket(socket.create_connection((host, port), 10), server_hostname=None, session=session) as connection:
        connection.sendall(f"POST /authenticate?method=cert HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
        return int(answer.split()[1]), connection.session, connection.session_reused


def main(identity_file):
    with open(identity_file) as file:
        identity = json.load(file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The server is the test's own; what is tested is what it believes of us.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as pem:
        pem.write("".join(identity["id"][part].removeprefix("pem:") + "\n" for part in ("cert", "key")))
        pem.flush()
        context.load_cert_chain(pem.name)
    url = urllib.parse.urlparse(identity["ztAPI"])
    status, session, _ = login(context, url, None)
    report("first", ok=status == 200, status=status)
    sys.stdin.readline()
    status, _, resumed = login(context, url, session)
    report("second", ok=bool(resumed), status=status)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
