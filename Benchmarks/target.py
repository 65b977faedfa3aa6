"""What `./run soak` attacks: a whole network with a share service, each part a process of its own, and the servers behind it. All on loopback.

    controller, router, host, host2 and proxy (network.set_up), service and frontend (a share service in remote mode and its public frontend), share-public,
    share-private and access; and `together`, a share service with everything in one process, whose controller counts what routers say."""
import http.server
import itertools
import json
import os
import re
import time
import urllib.request

from attackers.attack import Field
from attackers.crew import SPAWN, alone
from attackers.router import ATTACKS as ROUTER_ATTACKS
from attackers.sdk import GIVE, credentials
from attackers.strangers import self_signed
from attackers.wire import REST, Cut, context
from network import PASSWORD, Echo, Network, enroll_identity, enroll_router, free_port, listens, say, set_up

PAGE = b"the shared page\n"
BIG = 256 << 20
GUESSED, HONEST = ("soak-guessed", "Guessed-password-1"), ("soak-honest", "Honest-password-1")


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(BIG if self.path == "/big" else len(PAGE)))
        self.end_headers()
        try:
            if self.path != "/big":
                self.wfile.write(PAGE)
            else:
                for _ in range(BIG >> 16):
                    self.wfile.write(bytes(1 << 16))
        except OSError:
            self.close_connection = True

    def log_message(self, *arguments):
        pass


class Generous(Echo):
    """Sends back what it gets; whoever begins with a word gets bytes without end."""

    @staticmethod
    def serve(connection):
        with connection:
            try:
                while data := connection.recv(65536):
                    while data == GIVE:
                        connection.sendall(bytes(1 << 16))
                    connection.sendall(data)
            except OSError:
                pass


def servers(ready):
    """What is behind the network, in a process of its own."""
    alone()
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    http.server.ThreadingHTTPServer.request_queue_size = 256
    page = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    echo, generous = Echo(), Generous()
    for thread in (echo, generous):
        thread.start()
    ready.put({"echo": echo.port, "generous": generous.port, "page": page.server_port})
    page.serve_forever()


class Admin(REST):
    """The administrator, at the management API."""

    def __init__(self, port, password=PASSWORD, source="127.0.0.1"):
        super().__init__(port, source, context("http/1.1"), "/edge/management/v1")
        self.log_in("password", {"username": "admin", "password": password})

    def by_name(self, collection):
        return {entity["name"]: entity["id"] for entity in self.call("GET", f"/{collection}?limit=500")}

    def count(self, path):
        """How many there are."""
        status, _, body = self.raw("GET", path)
        if status != 200:
            raise Cut(f"{path}: {status} {body[:200]}")
        return json.loads(body)["meta"]["pagination"]["totalCount"]


class Target(Network):
    """The processes in `watched` are measured, and must live."""

    WATCHED = ["controller", "router", "host", "host2", "proxy", "service", "frontend", "share-public", "share-private", "access", "together"]

    def __init__(self, binary, directory):
        super().__init__(binary, directory)
        self.environment.update(SWIFTLET_SHARE_HOME=self.path("home"), HOME=directory)
        ready = SPAWN.Queue()
        self.servers = SPAWN.Process(target=servers, args=(ready,), name="servers", daemon=True)
        self.servers.start()
        self.behind = ready.get(timeout=30)

    def log(self, name):
        with open(self.path(f"{name}.log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait(self, name, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            if self.processes[name].poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{name} did not start:\n{self.log(name)[-3000:]}")
            time.sleep(0.05)

    def prepare(self, hang):
        """Starts everything. - Returns: the field for attackers and honest clients."""
        echo = self.behind["echo"]
        say("starting controller, router, hosts and proxy")
        proxy = set_up(
            self, {"echo": echo, "plain": echo, "beside": self.behind["generous"]}, plain=("plain", "beside"),
            hosts={"host": ["echo", "plain"], "host2": ["beside"]})
        say("enrolling those who mean harm")
        admin = Admin(self.ports["controller"])
        identities = {name: enroll_identity(self, name, "-a", name) for name in ("rogue", "victim", "pair-host", "lure-host", "hole-host", "hole2-host", "hoarder")}
        ids = admin.by_name("identities")
        services = admin.by_name("services")
        for name in ("pair", "lure", "hole", "hole2"):
            services[name] = admin.call("POST", "/services", {"name": name, "encryptionRequired": False, "roleAttributes": ["harm"]})["id"]
        policies = [(name, "Bind", [name], [f"{name}-host"]) for name in ("pair", "lure", "hole", "hole2")]
        policies += [("rogue", "Dial", ["pair", "hole", "hole2", "plain", "beside"], ["rogue"]), ("victim", "Dial", ["pair", "lure", "plain"], ["victim"])]
        for name, kind, which, who in policies:
            admin.call("POST", "/service-policies", {
                "name": f"soak-{name}-{kind}", "type": kind, "semantic": "AnyOf", "serviceRoles": [f"@{services[service]}" for service in which],
                "identityRoles": [f"@{ids[identity]}" for identity in who]})
        for name, password in (GUESSED, HONEST):
            made = admin.call("POST", "/identities", {"name": name, "type": "Default", "isAdmin": False})["id"]
            admin.call("POST", "/authenticators", {"method": "updb", "identityId": made, "username": name, "password": password})
            ids[name] = made
        # A circuit of it that is said to be idle for longer would end, if the word came from its router.
        admin.call("PATCH", f"/services/{services['plain']}", {"maxIdleTimeMillis": 3_600_000})
        self.share()
        billed = self.together()
        routers = {}
        for kind in ROUTER_ATTACKS:
            if kind.who == "biller":
                routers["biller"] = billed["router"]
            else:
                self.swiftlet("login", f"https://127.0.0.1:{self.ports['controller']}", "-u", "admin", "-p", PASSWORD, "-y")
                enroll_router(self, kind.who, self.ports["controller"], free_port())
                routers[kind.who] = self.rogue(kind.who, self.ports["controller"])
        known = admin.by_name("edge-routers")
        for name, router in routers.items():
            router["id"] = router["id"] or known[name]
        certified = {name: list(credentials(path)) for name, path in identities.items()}
        certified["bench-client"] = list(credentials(self.path("bench-client.json")))
        client = REST(self.ports["controller"], "127.0.0.1", context("http/1.1", tuple(certified["bench-client"])))
        client.log_in("cert", {})
        self.admin = admin
        terminators = [one["id"] for one in admin.call("GET", "/terminators?limit=500")]
        return Field(
            is_sink=False, hang=hang, listeners={
                "controller": self.ports["controller"], "router": self.ports["router"], "frontend": self.ports["frontend"], "api": self.ports["api"]},
            secure=["controller", "router"], share_host=f"soak.share.localhost:{self.ports['frontend']}", stranger=self_signed(self.directory),
            identities=certified, services=services, guessed=GUESSED[0], password=HONEST, page=PAGE, proxy=proxy, access=self.ports["access"],
            authorities=self.path("bench-client.json.ca.pem"), routers=routers, tokens=[admin.token, client.token],
            foreign=[ids[name] for name in (*certified, "bench-host", "bench-host2", *(name for name in ids if "admin" in name.lower()))],
            terminators=terminators, billed=billed["services"], hoarder=ids["hoarder"])

    def rogue(self, name, port):
        return {"port": port, "certificate": self.path(f"{name}.cert.pem"), "key": self.path(f"{name}.key.pem"), "id": None}

    def share(self):
        """A share service that joined this network, its frontend, a public share and a private one."""
        say("starting the share service and its shares")
        with open(self.path("admin-password"), "w") as file:
            file.write(PASSWORD + "\n")
        for name in ("api", "frontend", "access"):
            self.ports[name] = free_port()
        self.spawn(
            "service", self.binary, "share", "serve", "--directory", self.path("data"), "--controller", f"127.0.0.1:{self.ports['controller']}",
            "--password-file", self.path("admin-password"), "-y", "--api-port", str(self.ports["api"]), "--frontend-port", str(self.ports["frontend"]),
            "--no-frontend")
        self.wait("service", lambda: "share enable" in self.log("service"))
        token = self.log("service").split("share enable ")[1].split()[0]
        self.spawn("frontend", self.binary, "access", "public", "--identity", self.path("data/share/public.json"), "--port", str(self.ports["frontend"]))
        self.swiftlet("share", "enable", token, "--endpoint", f"http://127.0.0.1:{self.ports['api']}")
        self.spawn("share-public", self.binary, "share", "public", str(self.behind["page"]), "--name", "soak", "--headless")
        self.spawn(
            "share-private", self.binary, "share", "private", f"127.0.0.1:{self.behind['page']}", "--backend-mode", "tcpTunnel", "--share-token", "soak-raw",
            "--headless")
        self.wait("share-private", lambda: "soak-raw" in self.log("share-private"))
        self.spawn("access", self.binary, "access", "private", "soak-raw", "--bind", f"127.0.0.1:{self.ports['access']}", "--headless")
        self.wait("access", lambda: listens(self.ports["access"]))
        self.wait("frontend", lambda: listens(self.ports["frontend"]))

    def together(self):
        """A share service with its own controller, whose accounts pay for what routers say. - Returns: a router of it that means harm, and services of shares."""
        say("starting a share service in one process")
        ports = {name: free_port() for name in ("port", "router-port", "api-port", "frontend-port")}
        arguments = itertools.chain.from_iterable((f"--{name}", str(port)) for name, port in ports.items())
        self.spawn("together", self.binary, "share", "serve", "--directory", self.path("together"), *arguments)
        self.wait("together", lambda: "share enable" in self.log("together"))
        log = self.log("together")
        token = log.split("share enable ")[1].split()[0]
        password = re.search(r"network admin\s+admin, password (\S+)", log)
        if not password:
            raise SystemExit(f"the share service told no password of its network's administrator:\n{log[-2000:]}")
        self.metrics = (ports["api-port"], token)
        environment = dict(self.environment)
        self.environment.update(SWIFTLET_SHARE_HOME=self.path("home-together"))
        try:
            self.swiftlet("share", "enable", token, "--endpoint", f"http://127.0.0.1:{ports['api-port']}")
        finally:
            self.environment = environment
        with open(self.path("home-together/environment.json")) as file:
            enabled = json.load(file)["ziti_identity"]
        request = urllib.request.Request(
            f"http://127.0.0.1:{ports['api-port']}/api/v2/share", method="POST", headers={"content-type": "application/zrok.v1+json", "x-token": token},
            data=json.dumps({"envZId": enabled, "shareMode": "public", "backendMode": "proxy", "authScheme": "none"}).encode())
        urllib.request.urlopen(request, timeout=30).read()
        self.swiftlet("login", f"https://127.0.0.1:{ports['port']}", "-u", "admin", "-p", password[1], "-y")
        enroll_router(self, "biller", ports["port"], free_port())
        admin = Admin(ports["port"], password[1])
        router = self.rogue("biller", ports["port"])
        router["id"] = admin.by_name("edge-routers")["biller"]
        services = list(admin.by_name("services").values())
        admin.close()
        return {"router": router, "services": services}

    def billed(self):
        """Bytes that the account of `together` is said to have moved."""
        port, token = self.metrics
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v2/metrics/account?duration=6h", headers={"x-token": token})
        with urllib.request.urlopen(request, timeout=30) as answer:
            samples = json.load(answer).get("samples") or []
        return sum(sample.get("rx", 0) + sample.get("tx", 0) for sample in samples)

    def stop(self):
        super().stop()
        self.servers.kill()
        self.servers.join(5)
