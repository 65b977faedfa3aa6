#!/usr/bin/env python3
"""Attackers beside honest clients, on controller, router and frontend of one network, all on loopback; started by `./run soak`.

    idle      the honest clients alone
    attack    the attackers against the network, from addresses of their own (127.20.0.0 and on)
    neighbours  those whom the design must bear there, at a tenth of the pace, from the honest clients' address, as behind one NAT
    rest      the honest clients alone again, then nobody, until memory and descriptors are read
    burner    the honest clients beside the same attackers at a sink of their own, at the pace at which these spend as much as they did in the attack phase

Goals: no attacker gets what it must not get; honest p99 under attack compared with the one beside the burner; memory of each process; descriptors back; nobody
dead. The limits stand in budgets/soak.json. `--short` asserts states only, no times. Ends with tables on stdout; exit 1 when a goal is missed."""
import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time

import budgets
from attackers.attack import GONE, Field
from attackers.crew import ATTACKS, SPAWN, Crew, addresses
from attackers.sink import Sink
from attackers.wire import REST, context
from honest import CLIENTS, JUDGED, Honest, Phase
from network import cpu, rss, say
from target import GUESSED, Admin, Target

# What an attack may cost. In the short form no times and no failures are judged: somebody must come through, and
# everybody afterwards.
LIMITS = budgets.limits("soak")
# Seconds of rest at least: processes give heap back that they do not need once a minute.
REST_LEAST = 75.0
# A connection that says too little is gone after so many seconds. Five for a handshake or hello, ten for a request, and much room for busy machines.
HANG, HANG_SHORT = 30.0, 16.0


class Sampler(threading.Thread):
    """Memory, descriptors and threads of processes, twice a second."""

    def __init__(self, processes):
        super().__init__(daemon=True)
        self.processes, self.peak, self.now, self.stopped = processes, {}, {}, threading.Event()

    @staticmethod
    def read(pid):
        return {"rss": rss(pid), "descriptors": len(os.listdir(f"/proc/{pid}/fd")), "threads": len(os.listdir(f"/proc/{pid}/task"))}

    def run(self):
        while not self.stopped.wait(0.5):
            self.look()

    def look(self):
        for name, process in self.processes.items():
            if process.poll() is not None:
                continue
            try:
                self.now[name] = self.read(process.pid)
            except OSError:
                continue
            peak = self.peak.setdefault(name, dict(self.now[name]))
            for key, value in self.now[name].items():
                peak[key] = max(peak[key], value)
        return {name: dict(values) for name, values in self.now.items()}


class Soak:
    def __init__(self, options):
        self.options = options
        self.short = options.short
        self.directory = tempfile.mkdtemp(prefix="swiftlet-soak-")
        self.target = self.honest = self.crew = self.sink = self.sampler = None
        self.phases, self.goals, self.crews, self.spent = {}, [], {}, {}
        self.names = [
            kind.name for kind in ATTACKS if not options.only or any(word.strip().lower() in (kind.name + " " + kind.__name__).lower() for word in options.only.split(","))]
        if not self.names:
            raise SystemExit(f"no attack is called {options.only}; there are: {', '.join(kind.__name__ for kind in ATTACKS)}")

    def goal(self, text, is_reached, measured, limit):
        self.goals.append((text, limit, measured, bool(is_reached)))

    def seconds(self):
        """Of idle, burner, attack, neighbours, rest."""
        minutes = self.options.minutes
        if self.short:
            return 2, 0, 18, 5, 3
        side = max(10.0, min(300.0, minutes * 6))
        return side, side, minutes * 60, max(10.0, min(300.0, minutes * 6)), max(REST_LEAST, min(180.0, minutes * 6))

    def phase(self, name, seconds, crew=None):
        """Measures the honest clients for so long."""
        if seconds <= 0:
            return
        say(f"{name}: {seconds:.0f} s")
        self.honest.take()
        phase, begin = Phase(name), time.monotonic()
        before = {process: cpu(running.pid) for process, running in self.watched().items() if running.poll() is None}
        told = begin
        while (now := time.monotonic()) < begin + seconds:
            time.sleep(min(2.0, begin + seconds - now))
            phase.add(self.honest.take())
            if crew:
                crew.collect()
                if crew.broken():
                    raise SystemExit(f"attackers ended by themselves: {crew.broken()}")
            if now - told > 60 or self.options.verbose and now - told > 5:
                told = now
                self.tell(phase, crew, now - begin)
            dead = [process for process, running in self.watched().items() if running.poll() is not None]
            if dead and name == "idle":
                raise SystemExit(f"{dead[0]} ended by itself:\n{self.target.log(dead[0])[-2000:]}")
        phase.add(self.honest.take(is_last=not self.short))
        for process, running in self.watched().items():
            if running.poll() is None and process in before:
                phase.cpu[process] = (cpu(running.pid) - before[process]) / seconds
        self.phases[name] = phase

    def tell(self, phase, crew, seconds):
        memory = {name: f"{values['rss']:.0f}" for name, values in self.sampler.now.items()}
        say(f"  {phase.name} after {seconds:.0f} s: dial p99 {phase.at(JUDGED[0], 0.99) or 0:.1f} ms, failures {sum(phase.failures.values())}, resident MB {memory}"
            + (f", violations {sum(counts['violations'] for counts in crew.counts.values())}" if crew else ""))
        # Its session is watched for, and must live to be worth it.
        self.quietly(lambda: self.target.admin.call("GET", "/version"))

    @staticmethod
    def quietly(action):
        try:
            return action()
        except GONE:
            return None

    def watched(self):
        return {name: self.target.processes[name] for name in Target.WATCHED}

    def attack(self, name, seconds, field, kinds, sink=None, rate=None):
        begin, spent = time.monotonic(), sink.spent.value if sink else 0
        self.crew = Crew(kinds, field, self.options.sources, rate or self.options.rate, "127.0.0.1" if name == "neighbours" else None)
        self.phase(name, seconds, self.crew)
        self.crew.stop()
        self.crews[name] = self.crew
        # In cores.
        self.spent[name] = (self.crew.cpu + (sink.spent.value - spent if sink else 0)) / (time.monotonic() - begin)
        self.crew = None

    def run(self):
        idle, burner, attack, neighbours, rest = self.seconds()
        self.target = Target(os.path.abspath(self.options.binary), self.directory)
        field = self.target.prepare(HANG_SHORT if self.short else HANG)
        self.sampler = Sampler(self.watched())
        self.honest = Honest(field, SPAWN)
        # Everybody has come through once.
        self.warm_up()
        self.sampler.start()
        self.phase("idle", idle)
        before = self.sampler.look()
        self.sampler.peak.clear()
        billed = self.target.billed()
        self.attack("attack", attack, field, self.names)
        passed = self.quietly(lambda: self.prove(field, addresses("logins", 1)[0]))
        sessions = self.quietly(lambda: Admin(field.listeners["controller"]).count(f'/api-sessions?limit=1&filter=identity%3D%22{field.hoarder}%22'))
        near = [kind.name for kind in ATTACKS if kind.is_neighbour and kind.name in self.names]
        if near and neighbours:
            self.attack("neighbours", neighbours, field, near)
        self.phase("rest", rest)
        # Whoever was held up by an attack may still wait for what it then asked for.
        end = time.monotonic() + HANG
        while time.monotonic() < end and any(self.phases["rest"].count(kind.kind) == 0 for kind in CLIENTS):
            time.sleep(0.5)
            self.phases["rest"].add(self.honest.take())
        self.honest.stop()
        self.honest = None
        time.sleep(3 if self.short else max(10.0, rest / 3))
        after = self.sampler.look()
        self.sampler.stopped.set()
        self.states(field, billed, sessions, passed)
        if burner:
            self.burn(field, burner)
        self.judge(before, after)
        self.report(before, after)

    def burn(self, field, seconds):
        """The attackers at a sink, at the pace at which they and it spend what the attackers spent in the attack phase."""
        self.sink, self.honest = Sink(*field.stranger), Honest(field, SPAWN)
        everywhere = {name: self.sink.secure if name in field.secure else self.sink.plain for name in field.listeners}
        routers = {name: dict(router, port=self.sink.secure) for name, router in field.routers.items()}
        decoy = Field(**{**vars(field), "is_sink": True, "listeners": everywhere, "routers": routers, "terminators": ["sink"]})
        rate = self.options.rate
        for _ in range(2):
            # Twice, for what is spent is not quite in proportion to the pace.
            self.attack("finding the burner's pace", max(5.0, seconds / 10), decoy, self.names, self.sink, rate)
            rate = min(self.options.rate, max(0.01 * self.options.rate, rate * self.spent["attack"] / max(0.01, self.spent["finding the burner's pace"])))
        del self.phases["finding the burner's pace"], self.crews["finding the burner's pace"], self.spent["finding the burner's pace"]
        self.attack("burner", seconds, decoy, self.names, self.sink, rate)

    def warm_up(self):
        """Waits until every honest client has come through."""
        end, phase = time.monotonic() + 60, Phase("warm-up")
        while any(phase.count(kind.kind) == 0 for kind in CLIENTS):
            time.sleep(0.3)
            phase.add(self.honest.take())
            if time.monotonic() > end:
                missing = {kind.kind: phase.reasons.get(kind.kind) for kind in CLIENTS if phase.count(kind.kind) == 0}
                raise SystemExit(f"honest clients did not come through before any attack: {missing}")

    def states(self, field, billed, sessions, passed):
        """What must be as it was."""
        dead = [name for name, process in self.watched().items() if process.poll() is not None]
        self.goal("processes alive", not dead, "all" if not dead else "dead: " + ", ".join(dead), "all")
        kept = self.quietly(lambda: {one["id"] for one in Admin(field.listeners["controller"]).call("GET", "/terminators?limit=500")})
        lost = [one for one in field.terminators if kept is None or one not in kept]
        self.goal("terminators of honest hosts kept", not lost, f"{len(field.terminators) - len(lost)} of {len(field.terminators)}", "all")
        if sessions is not None or "Sessions" in self.options.only or not self.options.only:
            self.goal("API sessions of one identity", sessions is not None and sessions <= LIMITS["sessions"], "unknown" if sessions is None else sessions, LIMITS["sessions"])
        now = self.quietly(self.target.billed)
        self.goal("bytes billed for circuits that do not exist", now == billed, "nobody answers" if now is None else now - billed, 0)

        def log_in():
            rest = REST(field.listeners["controller"], "127.5.0.1", context("http/1.1"))
            rest.log_in("password", {"username": GUESSED[0], "password": GUESSED[1]})
            return True

        if any("password" in name or "logins" in name for name in self.names):
            self.goal("a certificate logs in from an address where others guess", passed, "yes" if passed else "no", "yes")
            own = self.quietly(log_in)
            self.goal("whose password was guessed at logs in from elsewhere", own, "yes" if own else "no", "yes")

    @staticmethod
    def prove(field, source):
        rest = REST(field.listeners["controller"], source, context("http/1.1", tuple(field.identities["bench-client"])))
        try:
            rest.log_in("cert", {})
            rest.call("DELETE", "/current-api-session")
        finally:
            rest.close()
        return True

    def judge(self, before, after):
        violations = sum(counts["violations"] for crew in self.judged() for counts in crew.counts.values())
        self.goal("what no attacker may get", violations == 0, violations, 0)
        bugs = sum(counts.get("bugs", 0) for crew in self.crews.values() for counts in crew.counts.values())
        if bugs:
            self.goal("attackers without bugs of their own", False, bugs, 0)
        idle = self.phases.get("burner") or self.phases["idle"]
        for kind in (client.kind for client in CLIENTS):
            for name in ("attack", "neighbours"):
                phase = self.phases.get(name)
                if not phase:
                    continue
                failed, done = phase.failures.get(kind, 0), phase.count(kind)
                if self.short:
                    # A pause is allowed beside diallers who never read, and the other phase is too short to tell.
                    if name == "attack" and kind in JUDGED:
                        self.goal(f"{kind}: comes through while attacked", done > 0, f"{done}, failed {failed}", "> 0")
                    refusals = [reason for reason in phase.reasons.get(kind, []) if "Refused" in reason]
                    if refusals:
                        self.goal(f"{kind}: refused, {name}", False, refusals[0], "never")
                elif kind in JUDGED:
                    share = failed / max(1, failed + done)
                    self.goal(f"{kind}: failed, {name}", share <= LIMITS["failures"] and done > 0, f"{failed} of {failed + done}", f"{LIMITS['failures']:.1%}")
            rest = self.phases["rest"]
            self.goal(f"{kind}: comes through afterwards", rest.count(kind) > 0, f"{rest.count(kind)}, failed {rest.failures.get(kind, 0)}", "> 0")
        if not self.short:
            attacked = self.phases["attack"]
            for kind in JUDGED:
                base, now = idle.at(kind, 0.99), attacked.at(kind, 0.99)
                limit = max(base * LIMITS["ratio"], LIMITS["floor"]) if base else None
                self.goal(f"{kind}: p99 under attack, ms", now is not None and limit is not None and now <= limit, number(now), number(limit))
            pause = attacked.at(CLIENTS[-1].kind, 1.0)
            self.goal("longest pause beside diallers who never read, s", pause is not None and pause <= LIMITS["pause"] * 1000, number(pause and pause / 1000), LIMITS["pause"])
        peak_goal = LIMITS["peak"]
        # Three seconds after the attack the allocator has not given much back yet: the short form sees leaks by their size at the peak, the long one by what stays.
        memory_goal = LIMITS["peak"] if self.short else LIMITS["memory"]
        for name in Target.WATCHED:
            if name not in after or name not in before:
                continue
            was, now, peak = before[name], after[name], self.sampler.peak[name]
            for text, measured, limit in (
                    ("grew by, at its peak, MB", peak["rss"] - was["rss"], peak_goal), ("grew by, after the rest, MB", now["rss"] - was["rss"], memory_goal),
                    ("descriptors more than before", now["descriptors"] - was["descriptors"], LIMITS["descriptors"]),
                    ("threads more than before", now["threads"] - was["threads"], LIMITS["threads"])):
                self.goal(f"{name}: {text}", measured <= limit, number(measured), number(limit))

    def judged(self):
        return [crew for name, crew in self.crews.items() if name != "burner"]

    def missed(self):
        return [goal for goal in self.goals if not goal[3]]

    def report(self, before, after):
        lines = ["| attack | must not | phase | attempts | refused, cut | held at once, or writes that waited | violations |", "| --- | --- | --- | --- | --- | --- | --- |"]
        for name, crew in self.crews.items():
            if name == "burner":
                continue
            for kind in ATTACKS:
                if counts := crew.counts.get(kind.name):
                    lines.append(f"| {kind.name} | {kind.must} | {name} | {counts['attempts']} | {counts['refused']} | {counts['held']} | {counts['violations']} |")
        phases = [phase for phase in self.phases.values()]
        base = "burner" if "burner" in self.phases else "idle"
        lines += ["", "| honest clients, p50 / p99 / longest in ms (failed of tried) | " + " | ".join(phase.name for phase in phases) + f" | p99 attack : {base} |",
                  "| --- |" + " --- |" * (len(phases) + 1)]
        for kind in (client.kind for client in CLIENTS):
            cells = []
            for phase in phases:
                failed = phase.failures.get(kind, 0)
                cells.append(" / ".join(number(phase.at(kind, fraction)) for fraction in (0.5, 0.99, 1.0)) + f" ({failed} of {failed + phase.count(kind)})")
            first, second = self.phases[base].at(kind, 0.99), self.phases["attack"].at(kind, 0.99)
            lines.append(f"| {kind} | " + " | ".join(cells) + f" | {number(second / first if first and second else None)} |")
        lines += ["", "| process | resident before, peak, after, MB | descriptors before, peak, after | threads before, after | CPU, cores: "
                  + ", ".join(phase.name for phase in phases) + " |", "| --- | --- | --- | --- | --- |"]
        for name in Target.WATCHED:
            if name in before and name in after:
                was, now, peak = before[name], after[name], self.sampler.peak.get(name, after[name])
                state = "" if self.target.processes[name].poll() is None else " (dead)"
                lines.append(
                    f"| {name}{state} | {was['rss']:.0f}, {peak['rss']:.0f}, {now['rss']:.0f} | {was['descriptors']}, {peak['descriptors']}, {now['descriptors']} | "
                    f"{was['threads']}, {now['threads']} | " + ", ".join(f"{phase.cpu.get(name, 0):.2f}" for phase in phases) + " |")
        lines.append("| attackers (and the sink) | | | | " + ", ".join(f"{self.spent.get(phase.name, 0):.2f}" for phase in phases) + " |")
        lines += ["", "| goal | limit | measured | |", "| --- | --- | --- | --- |"]
        # What each process took is in its own table.
        quiet = [goal for goal in self.goals if goal[3] and goal[0].split(":")[0] in Target.WATCHED]
        lines += [f"| {text} | {limit} | {measured} | {'reached' if is_reached else 'missed'} |"
                  for text, limit, measured, is_reached in self.goals if (text, limit, measured, is_reached) not in quiet]
        lines.append(f"| {len(quiet)} more: memory, descriptors and threads of the processes | | | reached |")
        notes = [f"{name}, {phase}: {note}" for phase, crew in self.crews.items() if phase != "burner" for name, told in crew.notes.items() for note in told]
        notes += [f"{kind}, {phase.name}: {reason}" for phase in phases for kind, reasons in phase.reasons.items() for reason in reasons[:3]]
        table = "\n".join(lines)
        if self.short and not self.options.verbose:
            say(f"soak: {len(self.goals) - len(self.missed())} of {len(self.goals)} states as they must be, "
                f"{sum(counts['attempts'] for crew in self.judged() for counts in crew.counts.values())} attempts of {len(self.names)} attacks")
        else:
            print(table, flush=True)
        if notes and (self.missed() or self.options.verbose):
            print("\nwhat attackers and clients said:\n" + "\n".join(notes), file=sys.stderr)
        if self.missed() and self.short and not self.options.verbose:
            print(table, file=sys.stderr)
        for text, limit, measured, _ in self.missed():
            print(f"error: soak: {text}: {measured}, must be {limit}", file=sys.stderr)
        if self.options.markdown:
            with open(self.options.markdown, "w") as file:
                file.write(table + "\n")
        if self.options.json:
            with open(self.options.json, "w") as file:
                json.dump({
                    "goals": [dict(zip(("goal", "limit", "measured", "reached"), goal)) for goal in self.goals],
                    "attacks": {name: crew.counts for name, crew in self.crews.items()}, "notes": notes, "before": before, "peak": self.sampler.peak, "after": after,
                    "honest": {phase.name: {kind: {"p50": phase.at(kind, 0.5), "p99": phase.at(kind, 0.99), "longest": phase.at(kind, 1.0), "count": phase.count(kind),
                                                   "failed": phase.failures.get(kind, 0)} for kind in phase.times} for phase in phases},
                    "cpu": {phase.name: dict(phase.cpu, attackers=self.spent.get(phase.name, 0)) for phase in phases}}, file, indent=1)

    def stop(self):
        """Ends everything that was started, each by its id."""
        if self.crew:
            self.crew.kill()
        for part in (self.sink, self.honest, self.target):
            if part:
                part.stop()
        if self.options.keep:
            say(f"logs: {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)


def number(value):
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--minutes", type=float, default=60, help="length of the attack (60); a quarter of an hour more for what is before and after")
    parser.add_argument("--rate", type=float, default=1.0, help="pace of all attackers, 1 for what docs/benchmarks.md says")
    parser.add_argument("--sources", type=int, default=8, help="addresses that each group of attackers comes from")
    parser.add_argument("--only", default="", metavar="WORDS", help="only attacks whose names contain one of these words, separated by commas")
    parser.add_argument("--short", action="store_true", help="half a minute, states only: what CI runs")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--markdown", metavar="FILE")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    soak = Soak(options)
    try:
        soak.run()
    finally:
        soak.stop()
    return 1 if soak.missed() else 0


if __name__ == "__main__":
    sys.exit(main())
