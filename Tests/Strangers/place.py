"""Where strangers are let in: a share service of processes on loopback, shares and accesses on it, small servers, directories. Everything ends with `stop()`, process by process."""
import http.server
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from network import free_port, listens

SWIFTLET = os.path.abspath(os.environ.get("SWIFTLET", "swiftlet"))
# Seconds. Whatever takes longer hangs.
PATIENCE = 60

_ends = []
_service = None


class Skipped(Exception):
    """This machine cannot run the case."""


def skip(reason):
    raise Skipped(reason)


def directory():
    """A new directory, removed at the end."""
    path = tempfile.mkdtemp(prefix="swiftlet-strangers-")
    _ends.append(lambda: shutil.rmtree(path, ignore_errors=True))
    return path


def run(*command, cwd=None, environment=None, input=None, check=True, timeout=PATIENCE):
    """Runs a program to its end. - Returns: the finished process, its texts decoded. - Raises: with everything it said, unless it ended well or `check` is false."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**os.environ, **(environment or {})}, input=input, stdin=None if input is not None else subprocess.DEVNULL,
        capture_output=True, text=True, errors="replace", timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done


def wait(what, condition, seconds=PATIENCE):
    """Polls until `condition()` is true. - Returns: what it returned."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


class Running:
    """A program that goes on beside the case; its output is in `log()`."""

    def __init__(self, *command, environment=None, cwd=None):
        self.path = os.path.join(directory(), "log")
        with open(self.path, "wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=cwd, env={**os.environ, **(environment or {})})
        _ends.append(self.stop)

    def log(self):
        with open(self.path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def says(self, pattern, seconds=PATIENCE):
        """Waits for a line. - Returns: the match."""
        def look():
            if found := re.search(pattern, self.log()):
                return found
            if self.process.poll() is not None:
                raise AssertionError(f"it ended with {self.process.returncode} and without saying {pattern}:\n{self.log()[-4000:]}")
        return wait(f"'{pattern}' is said", look, seconds)

    def stop(self):
        """As Ctrl-C; killed after ten seconds."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


class Share:
    """- `token`; `url` of a public one (its host is a name that curl and browsers resolve, and others reach with a Host field at the frontend's port); `running`, the command behind it."""

    def __init__(self, running, token=None, url=None):
        self.running, self.token, self.url = running, token, url


class ShareService:
    """`swiftlet share serve` in a directory of its own, and one machine that is enabled there."""

    def __init__(self, *options):
        self.directory = directory()
        self.environment = {"SWIFTLET_SHARE_HOME": self.directory + "/home", "NO_COLOR": "1"}
        self.ports = {name: free_port() for name in ("controller", "router", "api", "frontend")}
        self.endpoint = f"http://127.0.0.1:{self.ports['api']}"
        self.running = Running(
            SWIFTLET, "share", "serve", "--directory", self.directory + "/data", "--port", self.ports["controller"], "--router-port", self.ports["router"],
            "--api-port", self.ports["api"], "--frontend-port", self.ports["frontend"], *options, environment=self.environment)
        self.account = self.running.says(r"share enable (\S+)")[1]
        run(SWIFTLET, "share", "enable", self.account, "--endpoint", self.endpoint, environment=self.environment)

    def public(self, target, *options):
        running = Running(SWIFTLET, "share", "public", target, "--headless", *options, environment=self.environment)
        url = running.says(r"https?://\S+")[0]
        running.says("is shared")
        return Share(running, url=url)

    def private(self, *arguments):
        """- arguments: a target, and options; none but options for socks."""
        running = Running(SWIFTLET, "share", "private", *arguments, "--headless", environment=self.environment)
        token = running.says(r"swiftlet access private (\S+)")[1]
        running.says("is shared")
        return Share(running, token=token)

    def access(self, share, *options):
        """Makes a private share a local port. - Returns: the port."""
        port = free_port()
        running = Running(SWIFTLET, "access", "private", share.token, "--bind", f"127.0.0.1:{port}", "--headless", *options, environment=self.environment)
        wait("the access listens", lambda: listens(port) or running.process.poll() is not None)
        assert running.process.poll() is None, running.log()
        return port

    def stop(self):
        self.running.stop()


def zrok2():
    """zrok's own command line, which neither Debian nor PyPI has: the case is skipped where nobody brought it, as `ZROK2` in the environment or on the path. - Returns: its path."""
    return os.environ.get("ZROK2") or shutil.which("zrok2") or skip("there is no zrok2 here; name one: ZROK2=/path/to/zrok2 ./run strangers")


def service():
    """The share service that all cases use."""
    global _service
    if _service is None:
        _service = ShareService()
    return _service


def serve(handler):
    """An HTTP server on loopback. - handler: a class of `http.server.BaseHTTPRequestHandler`. - Returns: its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _ends.append(server.shutdown)
    return server.server_port


def stop():
    """Ends everything, the last first."""
    while _ends:
        try:
            _ends.pop()()
        except Exception as error:
            print(f"at the end: {error}")
