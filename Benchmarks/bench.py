#!/usr/bin/env python3
"""Measures a Swiftlet overlay against raw loopback and a pair of stunnels, in one run, on this machine.

proxy (swiftlet tunnel proxy) -> router (swiftlet router run) -> host (swiftlet tunnel host) -> server, end-to-end encrypted; controller, router and both
tunnels are processes of their own. Each figure is the median of --rounds rounds; the kinds are interleaved, so that a slow minute hits all of them.
Started by `./run bench`; `--check` compares with the goals below and exits 1 when one is missed; `--markdown FILE` writes the table.
"""
import argparse, json, os, shutil, signal, socket, statistics, subprocess, sys, tempfile, threading, time

GOALS = [  # (key, comparison, limit, text)
    ("router_cpu", "<=", 1.8, "router CPU-s/GiB, one stream"),
    ("path_cpu", "<=", 8.0, "whole path CPU-s/GiB, one stream"),
    ("rss_controller", "<=", 60.0, "controller resident after load, MB"),
    ("rss_router", "<=", 40.0, "router resident after load, MB"),
    ("rss_proxy", "<=", 40.0, "proxy tunneler resident after load, MB"),
    ("rss_host", "<=", 40.0, "host tunneler resident after load, MB"),
]
TICK = os.sysconf("SC_CLK_TCK")
GIB = float(1 << 30)


def say(text):
    print(f"\x1b[2m{text}\x1b[0m" if sys.stderr.isatty() else text, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


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
        self.processes = {}
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


def set_up(network, services):
    """Controller, router, identities, one service for each (name, port) of `services`, host and proxy. Returns name -> proxy port."""
    api, edge = free_port(), free_port()
    password = "bench-only-password"
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
    network.swiftlet("controller", "init", network.path("controller.yml"), "--username", "admin", "--password-stdin", input=password)
    network.spawn("controller", network.binary, "controller", "run", network.path("controller.yml"))
    network.wait_port("controller", api)
    network.swiftlet("login", f"https://127.0.0.1:{api}", "-u", "admin", "-p", password, "-y")
    network.swiftlet("create", "edge-router", "bench-router", "-o", network.path("router.jwt"))
    with open(network.path("router.yml"), "w") as f:
        f.write(f"""v: 3
identity:
  cert: {network.path('router.cert.pem')}
  server_cert: {network.path('router.server.pem')}
  key: {network.path('router.key.pem')}
  ca: {network.path('router.ca.pem')}
ctrl:
  endpoint: tls:127.0.0.1:{api}
listeners:
  - binding: edge
    address: tls:127.0.0.1:{edge}
    options: {{advertise: "127.0.0.1:{edge}"}}
edge:
  csr:
    sans: {{dns: [localhost], ip: ["127.0.0.1"]}}
""")
    network.swiftlet("router", "enroll", network.path("router.yml"), "--jwt", network.path("router.jwt"))
    network.spawn("router", network.binary, "router", "run", network.path("router.yml"))
    network.wait_port("router", edge)
    for name, attribute in (("bench-host", "hosts"), ("bench-client", "clients")):
        network.swiftlet("create", "identity", name, "-a", attribute, "-o", network.path(f"{name}.jwt"))
        network.swiftlet("enroll", network.path(f"{name}.jwt"), "-o", network.path(f"{name}.json"))
    for name in services:
        network.swiftlet("create", "service", name, "-a", "bench")
    network.swiftlet("create", "service-policy", "bench-bind", "Bind", "--service-roles", "#bench", "--identity-roles", "#hosts")
    network.swiftlet("create", "service-policy", "bench-dial", "Dial", "--service-roles", "#bench", "--identity-roles", "#clients")
    network.swiftlet("create", "edge-router-policy", "bench-all", "--edge-router-roles", "#all", "--identity-roles", "#all")
    network.swiftlet("create", "service-edge-router-policy", "bench-all", "--edge-router-roles", "#all", "--service-roles", "#all")
    network.spawn("host", network.binary, "tunnel", "host", "-i", network.path("bench-host.json"), *[f"{name}:127.0.0.1:{port}" for name, port in services.items()])
    ports = {name: free_port() for name in services}
    network.spawn("proxy", network.binary, "tunnel", "proxy", "-i", network.path("bench-client.json"), *[f"{name}:{port}" for name, port in ports.items()])
    for port in ports.values():
        network.wait_port("proxy", port)
    return ports


def set_up_stunnel(network, services):
    """A pair of stunnels in front of the same servers. Returns name -> port."""
    key, certificate = network.path("stunnel.key"), network.path("stunnel.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    ports, server, client = {}, [], []
    for name, port in services.items():
        middle, entry = free_port(), free_port()
        ports[name] = entry
        server.append(f"[{name}]\naccept = 127.0.0.1:{middle}\nconnect = 127.0.0.1:{port}\ncert = {certificate}\nkey = {key}\n")
        client.append(f"[{name}]\nclient = yes\naccept = 127.0.0.1:{entry}\nconnect = 127.0.0.1:{middle}\n")
    for side, sections in (("server", server), ("client", client)):
        configuration = network.path(f"stunnel-{side}.conf")
        with open(configuration, "w") as f:
            f.write(f"foreground = yes\npid =\ndebug = 3\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n{''.join(sections)}")
        network.spawn(f"stunnel-{side}", shutil.which("stunnel4") or "stunnel", configuration)
    for name, port in ports.items():
        network.wait_port("stunnel-client", port)
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


def iperf(port, streams, seconds):
    done = subprocess.run(["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", str(seconds), "-P", str(streams), "-J"], capture_output=True, text=True, timeout=seconds + 60)
    report = json.loads(done.stdout)
    if "error" in report:
        raise SystemExit(f"iperf3 through port {port}: {report['error']}")
    received = report["end"]["sum_received"]
    return received["bits_per_second"] / 1e9, received["bytes"]


def round_trips(port, count):
    times = []
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        message = b"x" * 64
        for index in range(count + 50):
            start = time.perf_counter()
            s.sendall(message)
            got = 0
            while got < 64:
                got += len(s.recv(64 - got))
            if index >= 50:
                times.append(time.perf_counter() - start)
    return times


def connects(port, count):
    times = []
    for _ in range(count):
        start = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port), 10) as s:
            s.sendall(b"y" * 64)
            got = 0
            while got < 64:
                got += len(s.recv(64 - got))
            times.append(time.perf_counter() - start)
    return times


def wrk(port, connections, seconds):
    done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"http://127.0.0.1:{port}/"], capture_output=True, text=True, timeout=seconds + 30)
    for line in done.stdout.splitlines():
        if line.startswith("Requests/sec:"):
            return float(line.split()[1])
    raise SystemExit(f"wrk through port {port}: {done.stdout}{done.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="a release build of swiftlet")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="length of one throughput measurement")
    parser.add_argument("--check", action="store_true", help="exit 1 when a goal is missed")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables there")
    options = parser.parse_args()

    directory = tempfile.mkdtemp(prefix="swiftlet-bench-")
    network = Network(os.path.abspath(options.binary), directory)
    samples = {}

    def note(key, value):
        samples.setdefault(key, []).append(value)

    try:
        echo = Echo()
        echo.start()
        iperf_port, web_port = free_port(), free_port()
        network.spawn("iperf3", "iperf3", "-s", "-p", str(iperf_port), "-B", "127.0.0.1")
        os.makedirs(network.path("www"))
        with open(network.path("www/index.html"), "w") as f:
            f.write("<!doctype html><title>bench</title>" + "x" * 600)
        with open(network.path("nginx.conf"), "w") as f:
            f.write(f"""worker_processes 1; daemon off; pid {network.path('nginx.pid')}; error_log {network.path('nginx.err')};
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000;
  client_body_temp_path {network.path('t1')}; proxy_temp_path {network.path('t2')}; fastcgi_temp_path {network.path('t3')};
  uwsgi_temp_path {network.path('t4')}; scgi_temp_path {network.path('t5')};
  server {{ listen 127.0.0.1:{web_port}; root {network.path('www')}; }} }}""")
        os.chmod(directory, 0o755)
        network.spawn("nginx", shutil.which("nginx") or "/usr/sbin/nginx", "-c", network.path("nginx.conf"))
        network.wait_port("nginx", web_port)
        direct = {"iperf": iperf_port, "echo": echo.port, "web": web_port}
        say("starting controller, router, host and proxy ...")
        overlay = set_up(network, direct)
        stunnel = set_up_stunnel(network, direct)
        kinds = {"loopback": direct, "stunnel": stunnel, "swiftlet": overlay}
        ours = {name: network.processes[name].pid for name in ("controller", "router", "host", "proxy")}
        connects(overlay["echo"], 3)
        for name, pid in ours.items():
            note(f"idle_{name}", rss(pid))
        for index in range(options.rounds):
            say(f"round {index + 1} of {options.rounds}")
            for kind, ports in kinds.items():
                watched = {"swiftlet": {n: ours[n] for n in ("proxy", "router", "host")},
                           "stunnel": {n: network.processes[n].pid for n in ("stunnel-client", "stunnel-server")}}.get(kind, {})
                for streams in (1, 8):
                    before = {name: cpu(pid) for name, pid in watched.items()}
                    rate, volume = iperf(ports["iperf"], streams, options.seconds)
                    note(f"{kind}_rate_{streams}", rate)
                    for name, pid in watched.items():
                        note(f"{kind}_cpu_{streams}_{name}", (cpu(pid) - before[name]) / (volume / GIB))
                trips = round_trips(ports["echo"], 2000)
                note(f"{kind}_rtt_p50", percentile(trips, 0.5) * 1e6)
                note(f"{kind}_rtt_p99", percentile(trips, 0.99) * 1e6)
                opened = connects(ports["echo"], 100)
                note(f"{kind}_connect_p50", percentile(opened, 0.5) * 1e3)
                note(f"{kind}_connect_p99", percentile(opened, 0.99) * 1e3)
                for connections in (1, 16, 64):
                    note(f"{kind}_wrk_{connections}", wrk(ports["web"], connections, 3))
        for name, pid in ours.items():
            note(f"rss_{name}", rss(pid))
    finally:
        network.stop()
        shutil.rmtree(directory, ignore_errors=True)

    m = {key: statistics.median(values) for key, values in samples.items()}
    m["router_cpu"] = m["swiftlet_cpu_1_router"]
    m["path_cpu"] = sum(m[f"swiftlet_cpu_1_{name}"] for name in ("proxy", "router", "host"))
    lines = ["| | loopback | stunnel pair | Swiftlet |", "| --- | --- | --- | --- |"]
    for text, key, form in [
        ("one stream, Gbit/s", "rate_1", "{:.2f}"), ("eight streams, Gbit/s", "rate_8", "{:.2f}"), ("64 B round trip p50, us", "rtt_p50", "{:.0f}"),
        ("64 B round trip p99, us", "rtt_p99", "{:.0f}"), ("connect + one round trip p50, ms", "connect_p50", "{:.2f}"),
        ("connect + one round trip p99, ms", "connect_p99", "{:.2f}"), ("wrk, 1 connection, requests/s", "wrk_1", "{:.0f}"),
        ("wrk, 16 connections, requests/s", "wrk_16", "{:.0f}"), ("wrk, 64 connections, requests/s", "wrk_64", "{:.0f}")]:
        lines.append(f"| {text} | " + " | ".join(form.format(m[f"{kind}_{key}"]) for kind in ("loopback", "stunnel", "swiftlet")) + " |")
    lines += ["", "| process | CPU-s/GiB, 1 stream | CPU-s/GiB, 8 streams | resident idle, MB | resident after load, MB |", "| --- | --- | --- | --- | --- |"]
    for name in ("proxy", "router", "host"):
        lines.append(f"| {name} | {m[f'swiftlet_cpu_1_{name}']:.2f} | {m[f'swiftlet_cpu_8_{name}']:.2f} | {m[f'idle_{name}']:.0f} | {m[f'rss_{name}']:.0f} |")
    lines.append(f"| controller | | | {m['idle_controller']:.0f} | {m['rss_controller']:.0f} |")
    for name in ("stunnel-client", "stunnel-server"):
        lines.append(f"| {name} | {m[f'stunnel_cpu_1_{name}']:.2f} | {m[f'stunnel_cpu_8_{name}']:.2f} | | |")
    lines += ["", "| goal | limit | measured | |", "| --- | --- | --- | --- |"]
    missed = 0
    share = m["swiftlet_rate_1"] / m["loopback_rate_1"]
    reached = m["swiftlet_rate_1"] >= 2.5 or share >= 0.09
    missed += not reached
    lines.append(f"| one stream, Gbit/s (share of loopback) | >= 2.5 or 0.09 | {m['swiftlet_rate_1']:.2f} ({share:.3f}) | {'reached' if reached else 'missed'} |")
    for key, comparison, limit, text in GOALS:
        reached = m[key] <= limit
        missed += not reached
        lines.append(f"| {text} | {comparison} {limit:g} | {m[key]:.2f} | {'reached' if reached else 'missed'} |")
    table = "\n".join(lines)
    print(table)
    if options.markdown:
        with open(options.markdown, "w") as f:
            f.write(table + "\n")
    if options.check and missed:
        raise SystemExit(f"{missed} goal(s) missed")


if __name__ == "__main__":
    main()
