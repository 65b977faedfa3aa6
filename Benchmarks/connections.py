#!/usr/bin/env python3
"""Many short connections through `tunnel proxy` and `access private`, with the processor busy; none may hang. Started by `./run soak`.

Each connects, sends 64 bytes, reads them back, or asks for a page, and closes. One that is neither answered nor closed within the patience hangs. Ends with a table
on stdout; exit 1 when one hung, was cut or brought something else, or when a process has more descriptors afterwards than before."""
import argparse
import os
import shutil
import signal
import socket
import sys
import tempfile
import time

import budgets
from attackers.crew import SPAWN
from network import say, set_up
from target import PAGE, Target

# Seconds.
PATIENCE = 60.0
# A source address has 28,000 ports, which are used again after a minute: each worker goes through addresses of its own.
PORTS_A_SOURCE = 10_000
# More than before.
DESCRIPTORS = budgets.limits("soak")["descriptors"]
KINDS = {"tunnel proxy": 0.8, "access private": 0.2}


def read(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(65536)
        if not part:
            break
        data += part
    return data


def once(kind, port, source, number):
    """- Returns: None, or what went wrong."""
    connection = socket.socket()
    connection.settimeout(PATIENCE)
    try:
        connection.bind((source, 0))
        connection.connect(("127.0.0.1", port))
        if kind == "tunnel proxy":
            word = number.to_bytes(8, "big") * 8
            connection.sendall(word)
            return None if read(connection, len(word)) == word else "cut"
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        return None if read(connection, 1 << 20).endswith(PAGE) else "cut"
    except TimeoutError:
        return "hung"
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()


def worker(index, kind, port, count, results):
    failures = {}
    for number in range(count):
        turn = number // PORTS_A_SOURCE
        reason = once(kind, port, f"127.{30 + index % 200}.{turn % 250}.{1 + index // 200}", number)
        if reason:
            failures[reason] = failures.get(reason, 0) + 1
    results.put((kind, count, failures))
    results.close()
    results.join_thread()
    os._exit(0)


def burn():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while os.getppid() != 1:
        for _ in range(10_000_000):
            pass


def descriptors(processes):
    return {name: len(os.listdir(f"/proc/{process.pid}/fd")) for name, process in processes.items() if process.poll() is None}


def run(options, target):
    echo = target.behind["echo"]
    say("starting controller, router, host, proxy, a private share and its access")
    proxy = set_up(target, {"echo": echo})
    target.share()
    ports = {"tunnel proxy": proxy["echo"], "access private": target.ports["access"]}
    for kind, port in ports.items():
        # The first one dials for everybody.
        if reason := once(kind, port, "127.0.0.1", 1):
            raise SystemExit(f"{kind} carries nothing: {reason}")
    before = descriptors(target.processes)
    burners = [SPAWN.Process(target=burn, daemon=True) for _ in range(options.burners)]
    results = SPAWN.Queue()
    workers = []
    for kind, share in KINDS.items():
        most = int(options.count * share)
        people = max(1, int(options.workers * share))
        workers += [
            SPAWN.Process(target=worker, args=(len(workers) + index, kind, ports[kind], most // people + (index < most % people), results), daemon=True)
            for index in range(people)]
    say(f"{options.count} connections by {len(workers)} programs beside {len(burners)} busy ones")
    begin = time.monotonic()
    for process in burners + workers:
        process.start()
    done = {kind: [0, {}] for kind in KINDS}
    for _ in workers:
        kind, count, failures = results.get(timeout=3600)
        done[kind][0] += count
        for reason, times in failures.items():
            done[kind][1][reason] = done[kind][1].get(reason, 0) + times
    seconds = time.monotonic() - begin
    for process in burners:
        process.kill()
    failed = False
    print(f"{'through':<16} {'connections':>11}  what went wrong")
    for kind, (count, failures) in done.items():
        print(f"{kind:<16} {count:>11}  {failures or 'nothing'}")
        failed = failed or bool(failures)
    print(f"{sum(count for count, _ in done.values()) / seconds:.0f} a second")
    end = time.monotonic() + 30
    while True:
        more = {name: count - before[name] for name, count in descriptors(target.processes).items() if count > before[name] + DESCRIPTORS}
        dead = [name for name, process in target.processes.items() if process.poll() is not None]
        if dead or not more or time.monotonic() > end:
            break
        time.sleep(1)
    if dead or more:
        print(f"ended by themselves: {dead}; descriptors that stayed open: {more}")
    return 1 if failed or dead or more else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="the swiftlet to measure")
    parser.add_argument("--count", type=int, default=100_000, help="connections in all (100000)")
    parser.add_argument("--workers", type=int, default=32, help="programs that connect at the same time (32)")
    parser.add_argument("--burners", type=int, default=os.cpu_count(), help="programs that only want the processor (one for each)")
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="swiftlet-connections-")
    target = None
    try:
        target = Target(os.path.abspath(options.binary), directory)
        code = run(options, target)
    finally:
        if target:
            target.stop()
            target.servers.kill()
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
