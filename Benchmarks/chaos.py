#!/usr/bin/env python3
"""Kills the parts of a share service, in every order, and asserts that names are kept and the URL answers again within ten seconds of the last start.

Twice: as one person runs it (network, service and frontend in one process, a share in another), and with every part in a process of its own (controller, router,
share service, public frontend, agent), in all 120 orders.

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


def together(bench, check):
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


CONTROLLER = """
v: 3
db: {directory}/controller.db
trustDomain: chaos.swiftlet
ctrl:
  listener: tls:127.0.0.1:{controller}
  options: {{advertiseAddress: "tls:localhost:{controller}"}}
edge:
  api: {{address: "localhost:{controller}"}}
web:
  - name: all
    bindPoints: [{{interface: "127.0.0.1:{controller}", address: "localhost:{controller}"}}]
    apis: [{{binding: edge-management}}, {{binding: edge-client}}]
"""

ROUTER = """
v: 3
identity:
  cert: {directory}/router.cert.pem
  server_cert: {directory}/router.server.pem
  key: {directory}/router.key.pem
  ca: {directory}/router.ca.pem
ctrl: {{endpoint: "tls:localhost:{controller}"}}
listeners:
  - binding: edge
    address: tls:127.0.0.1:{router}
    options: {{advertise: "localhost:{router}"}}
edge:
  csr: {{sans: {{dns: [localhost], ip: [127.0.0.1]}}}}
"""

AGENT = """
shares:
  - {{target: "127.0.0.1:{page}", name: chaos}}
"""

PASSWORD = "only-for-chaos-1"


class Apart(Bench):
    """Every part in a process of its own."""

    PARTS = ("controller", "router", "service", "frontend", "agent")

    def prepare(self):
        """Everything once, up to the first answer of the URL."""
        os.makedirs(self.directory, exist_ok=True)
        self.environment["HOME"] = self.directory
        values = dict(self.ports, directory=self.directory, page=self.server.server_port)
        for name, text in (("controller.yml", CONTROLLER), ("router.yml", ROUTER), ("agent.yml", AGENT)):
            with open(f"{self.directory}/{name}", "w", encoding="utf-8") as file:
                file.write(text.format(**values))
        with open(f"{self.directory}/password", "w", encoding="utf-8") as file:
            file.write(PASSWORD + "\n")
        self.once("controller", "init", self.path("controller.yml"), "--password-stdin", text=PASSWORD + "\n")
        self.start_part("controller")
        self.wait_for("controller", lambda: listens(self.ports["controller"]))
        self.once("login", f"localhost:{self.ports['controller']}", "-u", "admin", "--password-stdin", "-y", text=PASSWORD + "\n")
        self.once("create", "edge-router", "paris", "-a", "public", "-o", self.path("router.jwt"))
        self.once("router", "enroll", self.path("router.yml"), "--jwt", self.path("router.jwt"))
        self.start_part("router")
        self.start_part("service")
        self.wait_for("service", lambda: "share enable" in self.log("service"))
        self.start_part("frontend")
        token = self.log("service").split("share enable ")[1].split()[0]
        self.once("share", "enable", token, "--endpoint", f"http://127.0.0.1:{self.ports['api']}")
        self.start_part("agent")

    def path(self, name):
        return f"{self.directory}/{name}"

    def once(self, *arguments, text=""):
        done = subprocess.run([self.binary, *arguments], input=text, text=True, capture_output=True, env=self.environment, timeout=60)
        if done.returncode != 0:
            sys.exit(f"swiftlet {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")

    def wait_for(self, name, condition):
        begin = time.monotonic()
        while not condition():
            if time.monotonic() - begin > FIRST_URL_LIMIT or self.processes[name].poll() is not None:
                sys.exit(f"the {name} did not start:\n" + self.log(name))
            time.sleep(0.05)

    def start_part(self, name):
        match name:
            case "controller":
                self.start(name, "controller", "run", self.path("controller.yml"))
            case "router":
                self.start(name, "router", "run", self.path("router.yml"))
            case "service":
                self.start(
                    name, "share", "serve", "--directory", self.path("data"), "--controller", f"localhost:{self.ports['controller']}", "--password-file",
                    self.path("password"), "-y", "--api-port", str(self.ports["api"]), "--frontend-port", str(self.ports["frontend"]), "--no-frontend")
            case "frontend":
                self.start(name, "access", "public", "--identity", self.path("data/share/public.json"), "--port", str(self.ports["frontend"]))
            case "agent":
                self.start(name, "share", "agent", self.path("agent.yml"))

    def supervise(self):
        """What a service manager does: a part that ended by itself, for lack of another one, is started again."""
        for name in self.PARTS:
            process = self.processes.get(name)
            if process and process.poll() is not None:
                self.start_part(name)

    def get(self, timeout=2):
        self.supervise()
        return super().get(timeout)


def apart(bench, check):
    bench.prepare()
    check("every part in a process of its own: first answer", bench.answers(time.monotonic(), FIRST_URL_LIMIT), FIRST_URL_LIMIT)
    orders = list(itertools.permutations(bench.PARTS)) + [(name,) for name in bench.PARTS]
    for order in orders:
        # A name is taken over from a killed process once its share is older than ten seconds.
        time.sleep(10)
        for name in order:
            bench.kill(name)
        for name in order:
            bench.start_part(name)
        check(f"kill and start {', '.join(order)}", bench.answers(time.monotonic(), RECOVERY_LIMIT), RECOVERY_LIMIT)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--only", choices=["together", "apart"])
    options = parser.parse_args()
    failures = []

    def check(what, seconds, limit):
        verdict = "ok" if seconds is not None else "FAILED"
        print(f"{verdict:7}{what}: {f'{seconds:.2f} s' if seconds is not None else f'not within {limit:.0f} s'}", flush=True)
        if seconds is None:
            failures.append(what)

    for kind, walk in ((Bench, together), (Apart, apart)):
        if options.only not in (None, walk.__name__):
            continue
        bench = kind(options.binary)
        count = len(failures)
        try:
            walk(bench, check)
        finally:
            if len(failures) > count:
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
