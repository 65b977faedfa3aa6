#!/usr/bin/env python3
"""Checks that need no compiler: a target imports only targets of lower floors and only what Package.swift gives it, no line of code is
longer than 120 columns, and no build product is committed.

Prints `file:line: what is wrong` and exits 1 when there is something."""
import json
import os
import re
import subprocess
import sys

# docs/architecture.md has the same table. Tests may import anything.
FLOORS = {
    "CLinuxShims": 0, "CSodium": 0, "CQREncode": 0, "Wire": 1, "WireSchemas": 1, "SealedStream": 1, "PKI": 1, "JSON": 1, "Model": 1, "Facts": 1, "Access": 2, "Fabric": 2, "Transport": 3, "Store": 3,
    "Swiftlet": 4, "EdgeRouter": 4, "REST": 4, "Authentication": 4, "WebRelay": 4, "Controller": 5, "Tunnel": 5, "SwiftletShare": 5, "Share": 6, "SwiftletCommand": 7,
}
# Within floor 1 entities are JSON documents, and nothing else knows its neighbours; within floor 2 the fabric's cores ask the policy engine, within floor 4 the APIs
# stand on the pipelines of HTTP.
SAME_FLOOR = {("Model", "JSON"), ("Fabric", "Access"), ("REST", "WebRelay")}
# Sockets, clocks on sockets and databases stay out of floors 1 and 2.
HEAVY = {"NIOCore", "NIOPosix", "NIOSSL", "NIOHTTP1", "NIOHTTP2", "GRDB", "ServiceLifecycle", "Yams"}
IMPORT = re.compile(r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:public |package |internal |private |fileprivate )?import (?:struct |class |enum |protocol |func |var |let |typealias )?(\w+)")


# A line of Swift ends at this column at the latest; string literals, regular expressions, tables and URLs may be longer.
COLUMNS = 120
LITERAL = re.compile(r'#+".*?"#+|"(?:\\.|[^"\\])*"|#*/(?:\\.|[^/\\\n])+/#*')


def long_lines(path):
    """The numbers of the lines of a Swift file that are too long."""
    in_text = False
    with open(path, encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            line = line.rstrip("\n")
            was_in_text = in_text
            in_text ^= line.count('"""') % 2 == 1
            if len(line) <= COLUMNS or was_in_text or in_text:
                continue
            text = line.lstrip()
            if text.startswith("//"):
                if "://" not in text and not text.startswith("/// |"):
                    yield number
            elif len(LITERAL.sub('""', line)) > COLUMNS:
                yield number


def main():
    problems = []
    targets = {}
    described = subprocess.run(["swift", "package", "describe", "--type", "json"], capture_output=True, text=True)
    if described.returncode == 0:
        package = json.loads(described.stdout)
        targets = {t["name"]: set(t.get("target_dependencies", [])) for t in package["targets"]}
    else:
        problems.append(f"Package.swift: cannot be described: {described.stderr.strip().splitlines()[-1:]}")
    for name in sorted(os.listdir("Sources")):
        if name not in FLOORS:
            problems.append(f"Sources/{name}: not on any floor; add it to docs/architecture.md and .ci/check_tree.py")
            continue
        for folder, _, files in os.walk(f"Sources/{name}"):
            for file in sorted(files):
                if not file.endswith(".swift"):
                    continue
                path = os.path.join(folder, file)
                with open(path, encoding="utf-8") as source:
                    for number, line in enumerate(source, 1):
                        match = IMPORT.match(line)
                        if not match:
                            continue
                        module = match.group(1)
                        if module in FLOORS and module != name:
                            if FLOORS[module] >= FLOORS[name] and (name, module) not in SAME_FLOOR:
                                problems.append(f"{path}:{number}: {name} (floor {FLOORS[name]}) imports {module} (floor {FLOORS[module]})")
                            elif targets and module not in targets.get(name, set()):
                                problems.append(f"{path}:{number}: {name} imports {module}, which Package.swift does not give it")
                        if module in HEAVY and FLOORS[name] <= 2:
                            problems.append(f"{path}:{number}: {name} (floor {FLOORS[name]}) imports {module}; floors 1 and 2 have no I/O")
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True).stdout.splitlines()
    for path in tracked:
        if path.split("/")[0].startswith(".build") or path == "Package.resolved" or path.endswith((".pyc", ".o", ".swiftmodule")):
            problems.append(f"{path}: is a build product and must not be committed")
        if path.endswith(".swift") and not path.endswith(".pb.swift"):
            problems += [f"{path}:{number}: the line is longer than {COLUMNS} columns" for number in long_lines(path)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
