"""Lets attacks loose: a process for each group, so that one cannot slow down another, all at the lowest priority, for on a real network they compute elsewhere."""
import multiprocessing
import os
import queue
import resource
import signal
import threading
import time

from . import router, sdk, strangers

ATTACKS = strangers.ATTACKS + sdk.ATTACKS + router.ATTACKS
SPAWN = multiprocessing.get_context("spawn")


GROUPS = list(dict.fromkeys(kind.group for kind in ATTACKS))


def addresses(group, count):
    """Where attackers of a group come from: nobody is kept out for what another group did."""
    return [f"127.{20 + GROUPS.index(group)}.{number}.1" for number in range(count)]


def alone():
    """In a process of the run: its end is the parent's business, also when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(19)
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def group(names, field, sources, rate, as_neighbours, stop, results):
    alone()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    attacks = [kind(field, sources, rate, as_neighbours) for kind in ATTACKS if kind.name in names]
    threads = [threading.Thread(target=attack.run, daemon=True) for attack in attacks]
    for thread in threads:
        thread.start()

    def tell(is_last):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        results.put((os.getpid(), usage.ru_utime + usage.ru_stime, {attack.name: (dict(attack.counts), list(attack.notes)) for attack in attacks}, is_last))

    while not stop.wait(2):
        tell(False)
    for attack in attacks:
        attack.ending.set()
    end = time.monotonic() + 20
    for thread in threads:
        thread.join(max(0.1, end - time.monotonic()))
    tell(True)
    results.close()
    results.join_thread()
    # Whoever still hangs in a connection is not waited for.
    os._exit(0)


class Crew:
    """- Parameters names: of the attacks; sources: how many addresses each group comes from, or the honest clients' own as `neighbour`."""

    def __init__(self, names, field, sources, rate, neighbour=None):
        self.stop_event, self.results = SPAWN.Event(), SPAWN.Queue()
        self.counts, self.notes, self.seconds = {}, {}, {}
        self.finished = set()
        groups = {}
        for kind in ATTACKS:
            if kind.name in names:
                groups.setdefault(kind.group, []).append(kind.name)
        self.processes = [
            SPAWN.Process(
                target=group,
                args=(members, field, [neighbour] if neighbour else addresses(name, sources), rate, neighbour is not None, self.stop_event, self.results),
                name=name, daemon=True)
            for name, members in groups.items()]
        for process in self.processes:
            process.start()

    def collect(self):
        while True:
            try:
                pid, seconds, told, is_last = self.results.get_nowait()
            except queue.Empty:
                return
            self.seconds[pid] = seconds
            for name, (counts, notes) in told.items():
                self.counts[name], self.notes[name] = counts, notes
            if is_last:
                self.finished.add(pid)

    @property
    def cpu(self):
        return sum(self.seconds.values())

    def broken(self):
        """Groups that ended by themselves."""
        return [process.name for process in self.processes if process.exitcode not in (None, 0)]

    def stop(self, patience=30):
        self.stop_event.set()
        end = time.monotonic() + patience
        while time.monotonic() < end and any(process.is_alive() for process in self.processes):
            self.collect()
            time.sleep(0.1)
        self.collect()
        self.kill()

    def kill(self):
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join(5)
