#!/usr/bin/env python3
"""Measures a public share against the same server direct and behind nginx as a reverse proxy over TLS, all on loopback in one run.

    client -TLS-> swiftlet's frontend -> router -> swiftlet share public -> nginx        against        client -TLS-> nginx -> nginx

Prints Markdown. `--check` exits 1 when a budget of budgets/share.json is missed."""
import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import budgets
from network import Network, cpu, free_port, rss

DOWNLOAD = 1 << 30


def certificates(network):
    """An authority and a server certificate for the zone, as an operator brings them."""
    with open(network.path("ext"), "w") as f:
        f.write("subjectAltName=DNS:*.share.localhost,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
    for command in (
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=bench-ca",
            "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=share.localhost",
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.pem"):
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True, cwd=network.directory)


def nginx(network, plain, tls):
    """One nginx: the site, and a reverse proxy with TLS in front of it."""
    root = network.path("site")
    os.makedirs(root)
    with open(os.path.join(root, "index.html"), "wb") as f:
        f.write(b"<p>" + b"x" * 1021)
    with open(os.path.join(root, "big.bin"), "wb") as f:
        f.truncate(DOWNLOAD)
    with open(network.path("nginx.conf"), "w") as f:
        f.write(f"""{'user root; ' if os.getuid() == 0 else ''}daemon off; worker_processes 2; pid {network.path('nginx.pid')}; error_log {network.path('nginx.err')};
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000; client_body_temp_path {network.path('t1')}; proxy_temp_path {network.path('t2')};
  fastcgi_temp_path {network.path('t3')}; uwsgi_temp_path {network.path('t4')}; scgi_temp_path {network.path('t5')};
  upstream site {{ server 127.0.0.1:{plain}; keepalive 64; }}
  server {{ listen 127.0.0.1:{plain}; root {root}; }}
  server {{
    listen 127.0.0.1:{tls} ssl; ssl_certificate {network.path('server.pem')}; ssl_certificate_key {network.path('server.key')};
    location / {{ proxy_pass http://site; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }}
  }}
}}
""")
    network.spawn("nginx", shutil.which("nginx") or "/usr/sbin/nginx", "-c", network.path("nginx.conf"), "-p", network.directory)
    network.wait_port("nginx", tls)


def wrk(url, host, connections, seconds):
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-H", f"Host: {host}", url], capture_output=True, text=True, timeout=seconds + 30)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    tail = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
    if not rate or not tail or "Non-2xx" in done.stdout:
        raise SystemExit(f"wrk {url} failed:\n{done.stdout}{done.stderr}")
    return float(rate.group(1)), float(tail.group(1)) * {"us": 0.001, "ms": 1, "s": 1000}[tail.group(2)]


def download(url, host, authority):
    """Gbit/s of one download."""
    done = subprocess.run(
        ["curl", "--silent", "--fail", "--http1.1", "--cacert", authority, "--header", f"Host: {host}", "--output", "/dev/null", "--write-out",
         "%{speed_download} %{size_download}", url], capture_output=True, text=True, timeout=120)
    speed, size = done.stdout.split()
    if int(float(size)) != DOWNLOAD:
        raise SystemExit(f"the download of {url} has {size} bytes: {done.stderr}")
    return float(speed) * 8 / 1e9


def first_byte(network, target, name):
    """Milliseconds from the command to the first byte of a page."""
    begin = time.monotonic()
    process = network.spawn(name, network.binary, "share", "public", str(target), "--name", name)
    while time.monotonic() - begin < 30:
        try:
            with socket.create_connection(("127.0.0.1", network.plain_frontend), 1) as s:
                s.sendall(f"GET / HTTP/1.1\r\nHost: {name}.share.localhost\r\nConnection: close\r\n\r\n".encode())
                if s.recv(12) == b"HTTP/1.1 200":
                    return (time.monotonic() - begin) * 1000, process
        except OSError:
            pass
        time.sleep(0.002)
    raise SystemExit(f"the share {name} never answered:\n{open(network.path(name + '.log')).read()[-2000:]}")


def serve(network, name, directory, frontend, *more):
    ports = {"port": free_port(), "router-port": free_port(), "api-port": free_port(), "frontend-port": frontend}
    arguments = [item for key, value in ports.items() for item in (f"--{key}", str(value))]
    process = network.spawn(name, network.binary, "share", "serve", "--directory", network.path(directory), *arguments, *more)
    deadline = time.time() + 30
    while "share enable" not in open(network.path(f"{name}.log")).read():
        if process.poll() is not None or time.time() > deadline:
            raise SystemExit(f"{name} did not start:\n{open(network.path(f'{name}.log')).read()}")
        time.sleep(0.02)
    token = open(network.path(f"{name}.log")).read().split("share enable ")[1].split()[0]
    return process, ports, token


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    network = Network(os.path.abspath(options.binary), tempfile.mkdtemp(prefix="swiftlet-share-bench-"))
    network.environment.update(SWIFTLET_SHARE_HOME=network.path("home"), SWIFTLET_SHARE_CA=network.path("ca.pem"))
    try:
        certificates(network)
        plain, tls, frontend = free_port(), free_port(), free_port()
        nginx(network, plain, tls)
        service, ports, token = serve(
            network, "service", "data", frontend, "--cert", network.path("server.pem"), "--key", network.path("server.key"))
        network.swiftlet("share", "enable", token, "--endpoint", f"https://127.0.0.1:{ports['api-port']}", "--ca", network.path("ca.pem"))
        share = network.spawn("share", network.binary, "share", "public", str(plain), "--name", "bench")
        while "https://" not in open(network.path("share.log")).read():
            time.sleep(0.02)
        kinds = {
            "direct": (f"http://127.0.0.1:{plain}", "bench.share.localhost"), "nginx over TLS": (f"https://127.0.0.1:{tls}", "bench.share.localhost"),
            "share": (f"https://127.0.0.1:{frontend}", "bench.share.localhost"),
        }
        rates, tails, downloads, costs = {}, {}, {}, []
        for _ in range(options.rounds):
            for connections in (1, 16, 64):
                for kind, (url, host) in kinds.items():
                    rate, tail = wrk(url + "/", host, connections, options.seconds)
                    rates.setdefault((kind, connections), []).append(rate)
                    tails.setdefault((kind, connections), []).append(tail)
            for kind, (url, host) in kinds.items():
                before = cpu(service.pid), cpu(share.pid)
                downloads.setdefault(kind, []).append(download(url + "/big.bin", host, network.path("ca.pem")))
                if kind == "share":
                    costs.append((cpu(service.pid) - before[0], cpu(share.pid) - before[1]))
        after = rss(service.pid), rss(share.pid)
        middle = statistics.median
        print("| | direct | nginx over TLS | share |\n| --- | --- | --- | --- |")
        for connections in (1, 16, 64):
            print(f"| requests/s, {connections} connections | " + " | ".join(f"{middle(rates[kind, connections]):.0f}" for kind in kinds) + " |")
            print(f"| p99, {connections} connections, ms | " + " | ".join(f"{middle(tails[kind, connections]):.2f}" for kind in kinds) + " |")
        print("| download of 1 GiB, Gbit/s | " + " | ".join(f"{middle(downloads[kind]):.2f}" for kind in kinds) + " |")
        print(f"\nCPU-seconds per GiB: {middle(c[0] for c in costs):.2f} in the service (frontend, router, controller in one process), "
              f"{middle(c[1] for c in costs):.2f} in `share public`. Resident after load: {after[0]:.0f} MB and {after[1]:.0f} MB.")

        # On plain HTTP, so that the time is that of the share and not of a TLS library in this script.
        network.plain_frontend = free_port()
        network.environment.update(SWIFTLET_SHARE_HOME=network.path("home2"))
        second, ports, token = serve(network, "service2", "data2", network.plain_frontend)
        endpoint = f"http://127.0.0.1:{ports['api-port']}"
        network.swiftlet("share", "enable", token, "--endpoint", endpoint)
        times = []
        for number in range(7):
            milliseconds, process = first_byte(network, plain, f"first{number}")
            times.append(milliseconds)
            process.terminate()
            process.wait()
        goals, missed = budgets.judge("share", {"first_byte": middle(times)})
        print(f"\nFrom `share public` to the first byte of a page, median of {len(times)}: {middle(times):.0f} ms.\n\n" + "\n".join(goals))

        before = rss(second.pid)
        environment = json.load(open(network.path("home2") + "/environment.json"))["ziti_identity"]
        begin = time.monotonic()
        for _ in range(1000):
            request = urllib.request.Request(
                endpoint + "/api/v2/share", method="POST", headers={"content-type": "application/zrok.v1+json", "x-token": token},
                data=json.dumps({"envZId": environment, "shareMode": "public", "backendMode": "proxy", "authScheme": "none"}).encode())
            urllib.request.urlopen(request, timeout=30).read()
        elapsed = time.monotonic() - begin
        print(f"\n1,000 idle shares: made in {elapsed:.1f} s, service from {before:.0f} to {rss(second.pid):.0f} MB.")
        return 1 if options.check and missed else 0
    finally:
        network.stop()
        shutil.rmtree(network.directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
