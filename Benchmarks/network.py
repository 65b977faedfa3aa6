"""A network of processes on this machine for measurements and attacks: controller, edge router, tunnels, and what is read from the processes."""
import os, signal, socket, subprocess, sys, threading, time

TICK = os.sysconf("SC_CLK_TCK")


PASSWORD = "bench-only-password"


def say(text):
    print(f"\x1b[2m{text}\x1b[0m" if sys.stderr.isatty() else text, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listens(port):
    with socket.socket() as s:
        s.settimeout(0.2)
        return s.connect_ex(("127.0.0.1", port)) == 0


def cpu(pid):
    """User and system seconds of a process, all threads."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def rss(pid):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return 0.0


def percentile(values, fraction):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * fraction))]


class Network:
    """The processes of one run, all ended by their ids."""

    def __init__(self, binary, directory):
        self.binary, self.directory = binary, directory
        self.processes, self.ports = {}, {}
        self.environment = dict(os.environ, SWIFTLET_CONFIG_DIR=os.path.join(directory, "cli"), NO_COLOR="1")

    def path(self, name):
        return os.path.join(self.directory, name)

    def spawn(self, name, *command):
        log = open(self.path(f"{name}.log"), "ab")
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment, cwd=self.directory)
        self.processes[name] = process
        return process

    def swiftlet(self, *arguments, **options):
        done = subprocess.run([self.binary, *arguments], capture_output=True, text=True, env=self.environment, cwd=self.directory, timeout=60, **options)
        if done.returncode != 0:
            raise SystemExit(f"swiftlet {' '.join(arguments)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
        return done.stdout

    def wait_port(self, name, port, seconds=30):
        deadline = time.time() + seconds
        while time.time() < deadline:
            if self.processes.get(name) and self.processes[name].poll() is not None:
                raise SystemExit(f"{name} ended early:\n{open(self.path(f'{name}.log')).read()[-3000:]}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"{name} does not listen on {port} after {seconds} s:\n{open(self.path(f'{name}.log')).read()[-3000:]}")

    def stop(self):
        for process in reversed(list(self.processes.values())):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def enroll_identity(network, name, *options):
    """- Returns: its file."""
    network.swiftlet("create", "identity", name, *options, "-o", network.path(f"{name}.jwt"))
    network.swiftlet("enroll", network.path(f"{name}.jwt"), "-o", network.path(f"{name}.json"))
    return network.path(f"{name}.json")


def enroll_router(network, name, controller, edge, *options):
    """An edge router that may join; `NAME.yml` is its configuration."""
    network.swiftlet("create", "edge-router", name, *options, "-o", network.path(f"{name}.jwt"))
    with open(network.path(f"{name}.yml"), "w") as f:
        f.write(f"""v: 3
identity:
  cert: {network.path(f'{name}.cert.pem')}
  server_cert: {network.path(f'{name}.server.pem')}
  key: {network.path(f'{name}.key.pem')}
  ca: {network.path(f'{name}.ca.pem')}
ctrl:
  endpoint: tls:127.0.0.1:{controller}
listeners:
  - binding: edge
    address: tls:127.0.0.1:{edge}
    options: {{advertise: "127.0.0.1:{edge}"}}
edge:
  csr:
    sans: {{dns: [localhost], ip: ["127.0.0.1"]}}
""")
    network.swiftlet("router", "enroll", network.path(f"{name}.yml"), "--jwt", network.path(f"{name}.jwt"))


def set_up(network, services, plain=(), hosts=None):
    """Controller, router, identities, one service for each (name, port) of `services`, hosts and a proxy. Returns name -> proxy port.

    - plain: services without end-to-end encryption. - hosts: process -> names of the services it hosts; one host has them all otherwise."""
    hosts = hosts or {"host": list(services)}
    api, edge = free_port(), free_port()
    with open(network.path("controller.yml"), "w") as f:
        f.write(f"""v: 3
db: {network.path('controller.db')}
ctrl:
  listener: tls:127.0.0.1:{api}
  options: {{advertiseAddress: "tls:127.0.0.1:{api}"}}
edge:
  api: {{address: "127.0.0.1:{api}"}}
web:
  - name: all
    bindPoints: [{{interface: "127.0.0.1:{api}", address: "127.0.0.1:{api}"}}]
    apis: [{{binding: edge-management}}, {{binding: edge-client}}]
""")
    network.ports = {"controller": api, "router": edge}
    network.swiftlet("controller", "init", network.path("controller.yml"), "--username", "admin", "--password-stdin", input=PASSWORD)
    network.spawn("controller", network.binary, "controller", "run", network.path("controller.yml"))
    network.wait_port("controller", api)
    network.swiftlet("login", f"https://127.0.0.1:{api}", "-u", "admin", "-p", PASSWORD, "-y")
    enroll_router(network, "router", api, edge, "-a", "public")
    network.spawn("router", network.binary, "router", "run", network.path("router.yml"))
    network.wait_port("router", edge)
    for name, attribute in [*((f"bench-{host}", "hosts") for host in hosts), ("bench-client", "clients")]:
        enroll_identity(network, name, "-a", attribute)
    for name in services:
        network.swiftlet("create", "service", name, "-a", "bench", *(["-e", "OFF"] if name in plain else []))
    network.swiftlet("create", "service-policy", "bench-bind", "Bind", "--service-roles", "#bench", "--identity-roles", "#hosts")
    network.swiftlet("create", "service-policy", "bench-dial", "Dial", "--service-roles", "#bench", "--identity-roles", "#clients")
    network.swiftlet("create", "edge-router-policy", "bench-all", "--edge-router-roles", "#public", "--identity-roles", "#all")
    network.swiftlet("create", "service-edge-router-policy", "bench-all", "--edge-router-roles", "#public", "--service-roles", "#all")
    for host, names in hosts.items():
        network.spawn(host, network.binary, "tunnel", "host", "-i", network.path(f"bench-{host}.json"), *[f"{name}:127.0.0.1:{services[name]}" for name in names])
    ports = {name: free_port() for name in services}
    network.spawn("proxy", network.binary, "tunnel", "proxy", "-i", network.path("bench-client.json"), *[f"{name}:{port}" for name, port in ports.items()])
    for port in ports.values():
        network.wait_port("proxy", port)
    return ports


class Echo(threading.Thread):
    """A TCP echo server; one thread a connection, for small messages."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    @staticmethod
    def serve(connection):
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass
