"""Attackers whom nobody knows: no identity, no password, at most a certificate that they signed themselves."""
import itertools
import os
import subprocess
import time

from .attack import GONE, Attack, Held, Holding
from .wire import (
    H2_DATA, H2_HEADERS, H2_PING, H2_PREFACE, H2_SETTINGS, H2_WINDOW, HELLO, HTTP, RESULT, SUCCESS, TOKEN, VERSION, VERSION_TEXT, Cut, Frames, context, frame,
    h2_frame, h2_headers, tcp, tls)

MEBIBYTE = 1 << 20


def self_signed(directory, name="stranger"):
    """- Returns: files of a certificate that nobody issued, and its key."""
    certificate, key = os.path.join(directory, f"{name}.pem"), os.path.join(directory, f"{name}.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", key,
         "-out", certificate], check=True, capture_output=True)
    return certificate, key


class HalfOpen(Holding):
    name = "half-open TCP"
    must = "stay open, or keep others out"
    group, pace, limit, is_neighbour = "half-open", 800, 8000, True

    def open(self):
        turn = self.counts["attempts"]
        name = ["router", "controller", "router", "controller", "router", "frontend", "controller", "api"][turn % 8]
        port = self.field.listeners[name]
        # Every fourth begins a TLS handshake, a byte a second.
        drip = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) if turn % 16 == 0 else b""
        return Held(tcp(port, self.source()), f"{name}: a connection without a word", drip)


class SilentTLS(Holding):
    name = "silent TLS"
    must = "stay open"
    group, pace, limit, is_neighbour = "strangers", 10, 400, True

    def attack(self):
        kinds = [("controller", "h2"), ("controller", "http/1.1"), ("controller", "ziti-ctrl"), ("controller", None), ("router", "ziti-edge"), ("router", None)]
        self.kinds = itertools.cycle([(name, context(alpn), alpn) for name, alpn in kinds])
        super().attack()

    def open(self):
        name, settings, alpn = next(self.kinds)
        connection = tls(self.field.listeners[name], self.source(), settings)
        return Held(connection, f"{name} ({alpn or 'no ALPN'}): TLS without a word")


class SlowHello(Holding):
    name = "hello at a byte a second"
    must = "stay open"
    group, pace, limit = "strangers", 5, 200

    def attack(self):
        certificate = self.field.stranger
        self.kinds = itertools.cycle(
            [("router", context("ziti-edge", certificate)), ("controller", context("ziti-ctrl", certificate)), ("router", context(None, certificate))])
        super().attack()

    def open(self):
        name, settings = next(self.kinds)
        drip = frame(HELLO, -1, [(TOKEN, b"t" * 36), (VERSION, VERSION_TEXT)], b"slow")
        return Held(tls(self.field.listeners[name], self.source(), settings), f"{name}: a hello at a byte a second", drip)


class BigTokens(Holding):
    name = "self-signed hello, 60 KB token"
    must = "get in, or wait in memory"
    group, pace, limit = "tokens", 120, 2000

    def attack(self):
        self.edge, self.control = context("ziti-edge", self.field.stranger), context("ziti-ctrl", self.field.stranger)
        self.hello = frame(HELLO, -1, [(TOKEN, os.urandom(30_000).hex().encode()), (VERSION, VERSION_TEXT)], b"stranger")
        super().attack()

    def open(self):
        name, settings = ("controller", self.control) if self.counts["attempts"] % 8 == 0 else ("router", self.edge)
        connection = tls(self.field.listeners[name], self.source(), settings)
        connection.sendall(self.hello)
        return Held(connection, f"{name}: a hello with a token of 60 KB", respond=self.judge(name))

    def judge(self, name):
        frames = Frames()

        def respond(data):
            for answer in frames.feed(data):
                if answer.kind == RESULT and answer.get(SUCCESS) == b"\x01":
                    self.violation(f"{name} let a stranger in: {answer.body[:100]}")
                elif not self.field.is_sink:
                    raise Cut("refused")

        return respond


class DribbledBodies(Holding):
    name = "API bodies of 1 MiB before login, dribbled"
    must = "stay open, or wait in memory"
    group, pace, limit = "bodies", 15, 300

    def attack(self):
        self.settings = context("http/1.1")
        self.targets = itertools.cycle([
            ("controller", "/edge/client/v1/authenticate?method=password"), ("controller", "/edge/management/v1/authenticate?method=password"),
            ("api", "/api/v2/login"), ("controller", "/edge/client/v1/enroll?method=ott&token=x")])
        super().attack()

    def open(self):
        name, path = next(self.targets)
        port, source = self.field.listeners[name], self.source()
        connection = tls(port, source, self.settings) if name in self.field.secure else tcp(port, source)
        connection.settimeout(5)
        connection.sendall(f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\ncontent-length: {MEBIBYTE}\r\n\r\n".encode())
        connection.sendall(b'{"password":"' + b"a" * (MEBIBYTE - 1024))
        return Held(connection, f"{name}: a body at a byte a second", b"a" * 900)


class Streams(Holding):
    name = "HTTP/2: 100 streams of 1 MiB before login"
    must = "stay open, or wait in memory"
    group, pace, limit = "bodies", 0.5, 10

    def attack(self):
        self.settings = context("h2")
        super().attack()

    def open(self):
        port = self.field.listeners["controller"]
        connection = tls(port, self.source(), self.settings)
        fields = h2_headers([
            (":method", "POST"), (":scheme", "https"), (":path", "/edge/client/v1/authenticate?method=password"), (":authority", f"127.0.0.1:{port}"),
            ("content-type", "application/json"), ("content-length", str(MEBIBYTE))])
        numbers = range(1, 200, 2)
        connection.settimeout(5)
        connection.sendall(H2_PREFACE + h2_frame(H2_SETTINGS, 0, 0) + b"".join(h2_frame(H2_HEADERS, 4, number, fields) for number in numbers))
        return Held(connection, "controller: HTTP/2 with 100 bodies that do not end", respond=self.flow(list(numbers)))

    @staticmethod
    def flow(numbers):
        """Fills every window that it is given, up to the last byte of each body but one."""
        state = {"rest": b"", "window": 65535, "turn": 0, "left": {number: 65535 for number in numbers}}
        body = {number: MEBIBYTE - 1 for number in numbers}

        def respond(data):
            answer, data = bytearray(), state["rest"] + data
            while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
                length, kind, flags, stream = int.from_bytes(data[:3], "big"), data[3], data[4], int.from_bytes(data[5:9], "big") & 0x7FFFFFFF
                payload, data = data[9:9 + length], data[9 + length:]
                if kind == H2_SETTINGS and not flags & 1:
                    answer += h2_frame(H2_SETTINGS, 1, 0)
                elif kind == H2_PING and not flags & 1:
                    answer += h2_frame(H2_PING, 1, 0, payload)
                elif kind == H2_WINDOW:
                    grown = int.from_bytes(payload, "big") & 0x7FFFFFFF
                    if stream == 0:
                        state["window"] += grown
                    elif stream in state["left"]:
                        state["left"][stream] += grown
            state["rest"] = data
            for _ in numbers:
                number = numbers[state["turn"] % len(numbers)]
                size = min(16384, state["window"], state["left"][number], body[number])
                if len(answer) > 1 << 17:
                    break
                state["turn"] += 1
                if size > 0:
                    answer += h2_frame(H2_DATA, 0, number, b"a" * size)
                    state["window"] -= size
                    state["left"][number] -= size
                    body[number] -= size
            return bytes(answer)

        return respond


class SlowHeads(Holding):
    name = "slow heads at the public frontend"
    must = "stay open"
    group, pace, limit = "web", 10, 400

    def open(self):
        name = "frontend" if self.counts["attempts"] % 3 else "api"
        connection = tcp(self.field.listeners[name], self.source())
        connection.sendall(f"GET / HTTP/1.1\r\nhost: {self.field.share_host}\r\nx-slow: ".encode())
        return Held(connection, f"{name}: a head at a byte a second", b"a" * 4000)


class AskAndLeave(Holding):
    """Asks the share for its big file and does not read it."""
    name = "visitors who ask for much and read nothing"
    must = "hold up others"
    group, pace, limit, is_timed = "web", 1, 20, False

    def open(self):
        connection = tcp(self.field.listeners["frontend"], self.source())
        connection.sendall(f"GET /big HTTP/1.1\r\nhost: {self.field.share_host}\r\n\r\n".encode())
        return Held(connection, "frontend: a visitor who does not read")

    def look(self, wait):
        # Whoever reads nothing sees nothing either; in their place others come.
        if not self.ending.wait(wait) and len(self.held) >= self.limit:
            oldest = min(self.held, key=lambda one: one.born)
            if time.monotonic() - oldest.born > 10:
                self.drop(oldest)


class Guesses(Attack):
    name = "wrong passwords"
    must = "log in, or keep others from it"
    group, pace, is_neighbour, share = "logins", 8, True, 1.0

    def attack(self):
        settings = context("http/1.1")
        names = itertools.cycle([self.field.guessed, "admin", "nobody-of-that-name", self.field.guessed])
        apis = itertools.cycle(["/edge/client/v1", "/edge/management/v1", "share"])
        for _ in self.steps():
            self.tried()
            api, name, guess = next(apis), next(names), os.urandom(6).hex()
            try:
                if api == "share":
                    http = HTTP(tcp(self.field.listeners["api"], self.source()), "127.0.0.1")
                    status, _, _ = http.request(
                        "POST", "/api/v2/login", {"email": "admin@localhost", "password": guess}, [("content-type", "application/zrok.v1+json")])
                else:
                    port = self.field.listeners["controller"]
                    http = HTTP(tls(port, self.source(), settings), f"127.0.0.1:{port}")
                    status, _, _ = http.request("POST", f"{api}/authenticate?method=password", {"username": name, "password": guess})
                http.close()
                if status < 300:
                    self.violation(f"a guessed password opened {api}")
                else:
                    self.refused()
            except GONE:
                self.refused()


class ForeignCertificates(Attack):
    name = "logins with unknown certificates"
    must = "log in, or keep others from it"
    group, pace, is_neighbour, share = "logins", 8, True, 1.0

    def attack(self):
        settings = context("http/1.1", self.field.stranger)
        port = self.field.listeners["controller"]
        for _ in self.steps():
            self.tried()
            try:
                http = HTTP(tls(port, self.source(), settings), f"127.0.0.1:{port}")
                status, _, _ = http.request("POST", "/edge/client/v1/authenticate?method=cert", {})
                http.close()
                if status < 300:
                    self.violation("a certificate that nobody issued logged in")
                else:
                    self.refused()
            except GONE:
                self.refused()


ATTACKS = [HalfOpen, SilentTLS, SlowHello, BigTokens, DribbledBodies, Streams, SlowHeads, AskAndLeave, Guesses, ForeignCertificates]
