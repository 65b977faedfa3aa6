#!/usr/bin/env python3
"""Kills the parts of a share service, in every order, and asserts that names are kept and the URL answers again within ten seconds of the last start.

Everything runs on loopback, from one `swiftlet` executable, in a directory of its own; what was started is ended by process id. Exit 1 when an assertion fails."""
import argparse
import http.client
import http.server
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

FIRST_URL_LIMIT = 60.0
RECOVERY_LIMIT = 10.0
PAGE = b"the shared page\n"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *arguments):
        pass


class Bench:
    def __init__(self, binary):
        self.binary = os.path.abspath(binary)
        self.directory = tempfile.mkdtemp(prefix="swiftlet-chaos-")
        self.ports = {name: free_port() for name in ("controller", "router", "api", "frontend")}
        self.processes = {}
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.environment = dict(os.environ, SWIFTLET_SHARE_HOME=self.directory + "/home")

    def start(self, name, *arguments):
        log = open(f"{self.directory}/{name}.log", "ab")
        self.processes[name] = subprocess.Popen([self.binary, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment)

    def log(self, name):
        with open(f"{self.directory}/{name}.log", encoding="utf-8", errors="replace") as file:
            return file.read()

    def start_service(self):
        self.start(
            "service", "share", "serve", "--directory", self.directory + "/data", "--port", str(self.ports["controller"]), "--router-port",
            str(self.ports["router"]), "--api-port", str(self.ports["api"]), "--frontend-port", str(self.ports["frontend"]))

    def start_share(self):
        self.start("share", "share", "public", str(self.server.server_port), "--name", "chaos")

    def kill(self, name):
        process = self.processes.pop(name, None)
        if process:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def stop(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGINT)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        self.server.shutdown()
        shutil.rmtree(self.directory, ignore_errors=True)

    def get(self, timeout=2):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['frontend']}/", headers={"host": f"chaos.share.localhost:{self.ports['frontend']}"})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.read() == PAGE
        except (OSError, urllib.error.URLError, http.client.HTTPException):
            return False

    def answers(self, since, limit):
        """Seconds from `since` until the URL answers; None after the limit."""
        while time.monotonic() - since < limit:
            if self.get():
                return time.monotonic() - since
            time.sleep(0.05)
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    options = parser.parse_args()
    bench = Bench(options.binary)
    failures = []

    def check(what, seconds, limit):
        verdict = "ok" if seconds is not None else "FAILED"
        print(f"{verdict:7}{what}: {f'{seconds:.2f} s' if seconds is not None else f'not within {limit:.0f} s'}", flush=True)
        if seconds is None:
            failures.append(what)

    try:
        begin = time.monotonic()
        bench.start_service()
        while "share enable" not in bench.log("service"):
            if time.monotonic() - begin > FIRST_URL_LIMIT or bench.processes["service"].poll() is not None:
                sys.exit("the service did not start:\n" + bench.log("service"))
            time.sleep(0.05)
        token = bench.log("service").split("share enable ")[1].split()[0]
        endpoint = f"http://127.0.0.1:{bench.ports['api']}"
        subprocess.run([bench.binary, "share", "enable", token, "--endpoint", endpoint], check=True, env=bench.environment, stderr=subprocess.DEVNULL)
        bench.start_share()
        check("empty machine to first public URL, three commands", bench.answers(begin, FIRST_URL_LIMIT), FIRST_URL_LIMIT)
        # A share is taken over from a killed process once it is older than ten seconds.
        time.sleep(10)
        for order in itertools.permutations(["service", "share"]):
            for name in order:
                bench.kill(name)
            for name in order:
                {"service": bench.start_service, "share": bench.start_share}[name]()
                if name == "service":
                    while not listens(bench.ports["api"]):
                        time.sleep(0.02)
            if order[0] == "share":
                # Its command found no service; a person, or a supervisor, starts it again.
                bench.kill("share")
                bench.start_share()
            since = time.monotonic()
            check(f"kill {' and '.join(order)}, start both", bench.answers(since, RECOVERY_LIMIT), RECOVERY_LIMIT)
            time.sleep(10)
        bench.kill("service")
        bench.start_service()
        check("kill the service alone: the share comes back by itself", bench.answers(time.monotonic(), RECOVERY_LIMIT), RECOVERY_LIMIT)
        time.sleep(10)
        bench.kill("share")
        bench.start_share()
        check("kill the share alone: its name is taken over", bench.answers(time.monotonic(), RECOVERY_LIMIT), RECOVERY_LIMIT)
    finally:
        if failures:
            for name in list(bench.processes):
                print(f"--- {name}\n{bench.log(name)[-1500:]}", file=sys.stderr)
        bench.stop()
    return 1 if failures else 0


def listens(port):
    with socket.socket() as s:
        s.settimeout(0.2)
        return s.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(main())
