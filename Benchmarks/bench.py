#!/usr/bin/env python3
"""Measures a Swiftlet overlay against raw loopback and a pair of stunnels, in one run, on this machine.

proxy (swiftlet tunnel proxy) -> router (swiftlet router run) -> host (swiftlet tunnel host) -> server, end-to-end encrypted; controller, router and both
tunnels are processes of their own. Each figure is the median of --rounds rounds; the kinds are interleaved, so that a slow minute hits all of them.
Started by `./run bench`; `--check` compares with budgets/overlay.json and exits 1 when a budget is missed; `--markdown FILE` writes the table.
"""
import argparse, json, os, shutil, socket, statistics, subprocess, tempfile, time

import budgets
import hosting
from network import Echo, Network, cpu, free_port, percentile, rss, say, set_up

GIB = float(1 << 30)


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
    parser.add_argument("--check", action="store_true", help="exit 1 when a budget of budgets/overlay.json is missed")
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
        times, few, many = hosting.measure(network)
        for name in ("controller", "router"):
            note(f"hosting_rss_{name}", rss(ours[name]))
    finally:
        network.stop()
        shutil.rmtree(directory, ignore_errors=True)

    m = {key: statistics.median(values) for key, values in samples.items()}
    m["router_cpu"] = m["swiftlet_cpu_1_router"]
    m["path_cpu"] = sum(m[f"swiftlet_cpu_1_{name}"] for name in ("proxy", "router", "host"))
    m["hosting"], m["hosting_growth"], m["hosting_dial"] = sum(times), times[-1] / times[0], many[0] / few[0]
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
    lines += ["", "| 40,000 binds over one channel, s for each 10,000 | dial p50 / p99 beside 1 terminator, ms | beside 40,000 | controller, router resident then, MB |", "| --- | --- | --- | --- |"]
    lines.append(f"| {', '.join(f'{seconds:.2f}' for seconds in times)} | {few[0]:.2f} / {few[1]:.2f} | {many[0]:.2f} / {many[1]:.2f} | {m['hosting_rss_controller']:.0f}, {m['hosting_rss_router']:.0f} |")
    m["stream_rate"], m["loopback_share"] = m["swiftlet_rate_1"], m["swiftlet_rate_1"] / m["loopback_rate_1"]
    goals, missed = budgets.judge("overlay", m)
    lines += ["", *goals]
    table = "\n".join(lines)
    print(table)
    if options.markdown:
        with open(options.markdown, "w") as f:
            f.write(table + "\n")
    if options.check and missed:
        raise SystemExit(f"{missed} goal(s) missed")


if __name__ == "__main__":
    main()
