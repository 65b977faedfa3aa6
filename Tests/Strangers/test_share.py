"""How shares and accesses of the command line end and come back: signals, a killed process, an environment deleted at the service. Whole processes, as people start them."""
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

BINARY = os.environ["SWIFTLET"]
# ShareLeases.patience, a round of housekeeping, and as much again for a busy machine; seconds.
TAKEN_BACK = 240


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s in vain: {what}")


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, text, *arguments):
        pass


class Bench:
    """A share service, an enabled machine, and a server to share."""

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="swiftlet-share-test-")
        self.environment = dict(os.environ, SWIFTLET_SHARE_HOME=self.path("home"), NO_COLOR="1")
        self.processes = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.page = str(self.server.server_port)
        self.api, self.frontend = free_port(), free_port()
        ports = {"port": free_port(), "router-port": free_port(), "api-port": self.api, "frontend-port": self.frontend}
        arguments = [item for key, value in ports.items() for item in (f"--{key}", str(value))]
        _, log = self.start("service", "share", "serve", "--directory", self.path("service"), *arguments)
        text = wait("the service starts", lambda: "share enable" in open(log).read() and open(log).read())
        self.token = text.split("share enable ")[1].split()[0]
        self.enable()
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
            process.wait()
        self.server.shutdown()
        shutil.rmtree(self.directory, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def enable(self):
        assert self.run("share", "enable", self.token, "--endpoint", f"http://127.0.0.1:{self.api}").returncode == 0

    def run(self, *arguments):
        return subprocess.run([BINARY, *arguments], capture_output=True, text=True, env=self.environment, timeout=60, stdin=subprocess.DEVNULL)

    def start(self, name, *arguments, nohup=False):
        log = self.path(f"{name}-{len(self.processes)}.log")
        command = (["nohup"] if nohup else []) + [BINARY, *arguments]
        process = subprocess.Popen(
            command, stdout=open(log, "w"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=self.environment, start_new_session=True)
        self.processes.append(process)
        return process, log

    def share(self, name, **options):
        process, log = self.start(name, "share", "public", self.page, "--name", name, **options)
        wait(f"{name} is shared", lambda: "is shared" in open(log).read())
        return process, log

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.api}/api/v2{path}", method=method, data=json.dumps(body).encode() if body is not None else None,
            headers={"x-token": self.token, "content-type": "application/zrok.v1+json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")

    def shares(self):
        return self.call("GET", "/shares")["shares"]

    def visit(self, name):
        request = urllib.request.Request(f"http://127.0.0.1:{self.frontend}/", headers={"host": f"{name}.share.localhost:{self.frontend}"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code


def test_a_closed_terminal_ends_a_share_as_sigterm_does_and_nohup_keeps_it():
    with Bench() as bench:
        for number in (signal.SIGHUP, signal.SIGTERM):
            process, _ = bench.share("closed")
            assert bench.visit("closed") == 200
            process.send_signal(number)
            assert process.wait(30) == 0
            assert bench.shares() == [] and bench.visit("closed") == 404
        process, _ = bench.share("kept", nohup=True)
        process.send_signal(signal.SIGHUP)
        # Whatever the signal does is done before the next thing that the process is asked.
        assert bench.visit("kept") == 200 and process.poll() is None and len(bench.shares()) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_what_was_killed_is_taken_back_and_its_name_is_free():
    with Bench() as bench:
        process, _ = bench.share("killed")
        process.kill()
        process.wait()
        wait("the share is taken back", lambda: bench.shares() == [] or None, TAKEN_BACK)
        assert bench.visit("killed") == 404
        process, _ = bench.share("killed")
        assert bench.visit("killed") == 200


def test_an_environment_deleted_at_the_service_is_said_once_and_disable_forgets_it():
    with Bench() as bench:
        process, log = bench.share("gone")
        identity = json.load(open(bench.path("home/environment.json")))["ziti_identity"]
        bench.call("POST", "/disable", {"identity": identity})
        assert process.wait(60) != 0
        assert open(log).read().count("knows this machine no more") == 1
        again = bench.run("share", "public", bench.page)
        assert again.returncode != 0 and "swiftlet share disable" in again.stderr
        assert bench.run("share", "disable").returncode == 0
        bench.enable()
        process, _ = bench.share("gone")
        assert bench.visit("gone") == 200


def test_an_access_waits_for_its_share_and_a_silent_target_is_told():
    with Bench() as bench:
        port = free_port()

        def start():
            process, log = bench.start("private", "share", "private", bench.page, "--share-token", "my-site")
            wait("it is shared", lambda: "is shared" in open(log).read())
            return process

        share = start()
        access, log = bench.start("access", "access", "private", "my-site", "--bind", f"127.0.0.1:{port}")
        wait("the access is there", lambda: "is here" in open(log).read())

        def read():
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20).status
            except urllib.error.HTTPError as error:
                return error.code

        assert read() == 200
        share.send_signal(signal.SIGTERM)
        assert share.wait(30) == 0
        wait("the access says so", lambda: "has ended" in open(log).read())
        start()
        wait("the share is there again", lambda: read() == 200)
        assert access.poll() is None

        _, log = bench.start("silent", "share", "public", str(free_port()), "--name", "silent")
        wait("it warns", lambda: "nothing listens" in open(log).read())
        assert "is shared" in open(log).read() and bench.visit("silent") == 502
