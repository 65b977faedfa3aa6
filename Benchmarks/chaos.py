#!/usr/bin/env python3
"""Kills the parts of a share service, in every order, and asserts that names are kept and the URL answers again within ten seconds of the last start.

Twice: as one person runs it (network, service and frontend in one process, a share in another), and with every part in a process of its own (controller, router,
share service, public frontend, agent), in all 120 orders. Then the network of an agent is changed, in a namespace of its own (as root only): another address, a
pulled cable; and a reader pauses for longer than a peer may be silent.

Everything runs on loopback and in that namespace, from one `swiftlet` executable, in a directory of its own; what was started is ended by process id. Exit 1 when an
assertion fails."""
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

from network import free_port, listens

FIRST_URL_LIMIT = 60.0
RECOVERY_LIMIT = 10.0
# A peer that went away without a word is noticed within 25 s; then everything is made again.
MOVE_LIMIT = 45.0
PAUSE = 45.0
PAGE = b"the shared page\n"


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

    def start(self, name, *arguments, before=(), environment=None):
        log = open(f"{self.directory}/{name}.log", "ab")
        self.processes[name] = subprocess.Popen(
            [*before, self.binary, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment or self.environment)

    def log(self, name):
        if not os.path.exists(f"{self.directory}/{name}.log"):
            return ""
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


AWAY = """
shares:
  - {{target: {directory}/site, name: chaos}}
  - {{target: "127.0.0.1:9000", mode: private, backend: tcpTunnel, token: chaos-raw}}
"""

# Sends what is asked for to whoever connects.
SENDER = """
import socketserver
class Sender(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            for _ in range(512): self.request.sendall(bytes(65536))
        except OSError:
            pass
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", 9000), Sender).serve_forever()
"""
SENT = 512 * 65536


class Moved(Bench):
    """The agent in a network namespace, at the other end of a cable."""

    HERE, THERE, ELSEWHERE = "198.18.77.1", "198.18.77.2", "198.18.77.3"

    def __init__(self, binary):
        super().__init__(binary)
        self.space = f"swiftlet-{os.getpid()}"
        self.cable = f"sw{os.getpid()}"
        for command in (
            f"ip netns add {self.space}",
            f"ip link add {self.cable}a type veth peer name {self.cable}b netns {self.space}",
            f"ip addr add {self.HERE}/24 dev {self.cable}a",
            f"ip link set {self.cable}a up",
        ):
            subprocess.run(command.split(), check=True)
        self.there(f"ip addr add {self.THERE}/24 dev {self.cable}b")
        self.there("ip link set lo up")
        self.plug(True)

    @property
    def inside(self):
        return ("ip", "netns", "exec", self.space)

    def there(self, command):
        subprocess.run([*self.inside, *command.split()], check=True)

    def plug(self, is_plugged):
        self.there(f"ip link set {self.cable}b {'up' if is_plugged else 'down'}")

    def enable(self, home, before=()):
        token = self.log("service").split("share enable ")[1].split()[0]
        environment = dict(self.environment, SWIFTLET_SHARE_HOME=f"{self.directory}/{home}")
        subprocess.run(
            [*before, self.binary, "share", "enable", token, "--endpoint", f"http://{self.HERE}:{self.ports['api']}"], check=True, env=environment,
            stderr=subprocess.DEVNULL)
        return environment

    def prepare(self):
        os.makedirs(self.directory + "/site")
        with open(self.directory + "/site/index.html", "wb") as file:
            file.write(PAGE)
        with open(self.directory + "/agent.yml", "w", encoding="utf-8") as file:
            file.write(AWAY.format(directory=self.directory))
        self.start(
            "service", "share", "serve", "--directory", self.directory + "/data", "--host", self.HERE, "--port", str(self.ports["controller"]),
            "--router-port", str(self.ports["router"]), "--api-port", str(self.ports["api"]), "--frontend-port", str(self.ports["frontend"]))
        begin = time.monotonic()
        while "share enable" not in self.log("service"):
            if time.monotonic() - begin > FIRST_URL_LIMIT:
                sys.exit("the service did not start:\n" + self.log("service"))
            time.sleep(0.05)
        self.processes["sender"] = subprocess.Popen([*self.inside, sys.executable, "-c", SENDER])
        self.start("agent", "share", "agent", self.directory + "/agent.yml", before=self.inside, environment=self.enable("there", self.inside))

    def active(self):
        """How many shares the agent has just reached."""
        environment = dict(self.environment, SWIFTLET_SHARE_HOME=f"{self.directory}/there")
        told = subprocess.run([self.binary, "share", "agent", "status"], capture_output=True, text=True, env=environment, check=False).stdout
        return sum(line.startswith("active") for line in told.splitlines())

    def stop(self):
        sender = self.processes.pop("sender", None)
        if sender:
            sender.kill()
            sender.wait()
        super().stop()
        subprocess.run(["ip", "link", "del", self.cable + "a"], check=False)
        subprocess.run(["ip", "netns", "del", self.space], check=False)


def moved(bench, check):
    bench.prepare()
    check("an agent on another machine: first answer", bench.answers(time.monotonic(), FIRST_URL_LIMIT), FIRST_URL_LIMIT)
    time.sleep(5)
    bench.there(f"ip addr del {bench.THERE}/24 dev {bench.cable}b")
    bench.there(f"ip addr add {bench.ELSEWHERE}/24 dev {bench.cable}b")
    # Its connections are of an address that nobody has any more.
    check("that machine has another address", bench.answers(time.monotonic(), MOVE_LIMIT), MOVE_LIMIT)
    for seconds in (15, 60):
        time.sleep(25)
        bench.plug(False)
        time.sleep(seconds)
        bench.plug(True)
        check(f"its cable was pulled for {seconds} s", bench.answers(time.monotonic(), RECOVERY_LIMIT), RECOVERY_LIMIT)
    begin = time.monotonic()
    while bench.active() < 2:
        if time.monotonic() - begin > MOVE_LIMIT:
            sys.exit("the agent did not get both of its shares up again:\n" + bench.log("agent")[-3000:])
        time.sleep(0.5)
    port = free_port()
    bench.start("access", "access", "private", "chaos-raw", "--bind", f"127.0.0.1:{port}", environment=bench.enable("here"))
    begin = time.monotonic()
    while not listens(port):
        if time.monotonic() - begin > FIRST_URL_LIMIT or bench.processes["access"].poll() is not None:
            sys.exit("the access did not start:\n" + bench.log("access"))
        time.sleep(0.05)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as reader:
        got = len(reader.recv(1024))
        time.sleep(PAUSE)
        begin = time.monotonic()
        while got < SENT and (part := reader.recv(1 << 20)):
            got += len(part)
    check(f"a reader that pauses for {PAUSE:.0f} s gets all {SENT >> 20} MiB", time.monotonic() - begin if got == SENT else None, 30)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--only", choices=["together", "apart", "moved"])
    options = parser.parse_args()
    failures = []

    def check(what, seconds, limit):
        verdict = "ok" if seconds is not None else "FAILED"
        print(f"{verdict:7}{what}: {f'{seconds:.2f} s' if seconds is not None else f'not within {limit:.0f} s'}", flush=True)
        if seconds is None:
            failures.append(what)

    for kind, walk in ((Bench, together), (Moved, moved), (Apart, apart)):
        if options.only not in (None, walk.__name__):
            continue
        if walk is moved and (os.geteuid() != 0 or not shutil.which("ip")):
            print("skipped changes of an agent's network: they need root, and ip of iproute2", flush=True)
            continue
        bench = kind(options.binary)
        count = len(failures)
        try:
            walk(bench, check)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"FAILED {walk.__name__}: {error!r}", flush=True)
            failures.append(walk.__name__)
        finally:
            if len(failures) > count:
                for name in list(bench.processes):
                    print(f"--- {name}\n{bench.log(name)[-1500:]}", file=sys.stderr)
            bench.stop()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
