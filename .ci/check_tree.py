#!/usr/bin/env python3
"""Checks that need no compiler, one function a rule. Prints `file:line: what is wrong` and exits 1 when there is
something.

- floors: a target imports only targets of lower floors, and floors 1 and 2 have no I/O.
- dependencies: a target imports what Package.swift gives it, and Package.swift gives it nothing that it does not
  import.
- sdk: the products for other packages show no type of Wire.
- foundation: the full Foundation is imported only where it has always been (.ci/foundation.txt, which only shrinks).
- main_files: the main file of a target opens with what the target is for, what it is not, and where to start.
- long_lines: no line of Swift ends beyond column 120.
- build_products: nothing that a build makes is committed.

`--foundation` writes .ci/foundation.txt anew, for files that moved or need the full Foundation no more; it refuses a
longer list than the one there is."""
import json
import os
import re
import subprocess
import sys

# docs/architecture.md has the same table. Tests may import anything.
FLOORS = {
    "CLinuxShims": 0, "CSodium": 0, "CQREncode": 0, "Wire": 1, "WireSchemas": 1, "SealedStream": 1, "PKI": 1, "JSON": 1, "Model": 1, "Facts": 1, "Access": 2, "Fabric": 2, "Transport": 3, "Store": 3,
    "Swiftlet": 4, "EdgeRouter": 4, "REST": 4, "Authentication": 4, "WebRelay": 4, "Controller": 5, "Tunnel": 5, "AgentProtocol": 5, "SwiftletShare": 5,
    "ShareFrontend": 6, "ShareService": 6, "ShareAgent": 6, "SwiftletCommand": 7,
}
# Within floor 2 the fabric's cores ask the policy engine, within floor 4 the APIs stand on the pipelines of HTTP, within floor 6 a share service runs a public
# frontend in its process; within floor 1 entities are JSON documents, and nothing else knows its neighbours.
SAME_FLOOR = {("Model", "JSON"), ("Fabric", "Access"), ("REST", "WebRelay"), ("ShareService", "ShareFrontend")}
# Sockets, clocks on sockets and databases stay out of floors 1 and 2.
HEAVY = {"NIOCore", "NIOPosix", "NIOSSL", "NIOHTTP1", "NIOHTTP2", "GRDB", "ServiceLifecycle", "Yams"}

# What other packages build on, and whose types are no business of theirs.
SDK = {"Swiftlet", "SwiftletShare"}
HIDDEN = {"Wire"}

# Where a target's first words stand: in the file of its main type. A target that is not named here has them in
# Sources/NAME/NAME.swift; targets of C have none.
MAIN_FILES = {
    "Wire": "Sources/Wire/FrameHeader.swift",
    "WireSchemas": "protos/ctrl.proto",
    "SealedStream": "Sources/SealedStream/Sealer.swift",
    "PKI": "Sources/PKI/CertificateAuthority.swift",
    "Model": "Sources/Model/Entity.swift",
    "Facts": "Sources/Facts/Metrics.swift",
    "Access": "Sources/Access/AccessEngine.swift",
    "Fabric": "Sources/Fabric/Controller/CircuitEngine.swift",
    "Transport": "Sources/Transport/TLSListener.swift",
    "Swiftlet": "Sources/Swiftlet/Overlay.swift",
    "EdgeRouter": "Sources/EdgeRouter/RouterNode.swift",
    "REST": "Sources/REST/Endpoint.swift",
    "Authentication": "Sources/Authentication/PasswordHasher.swift",
    "WebRelay": "Sources/WebRelay/HTTPRelay.swift",
    "Controller": "Sources/Controller/ControllerNode.swift",
    "Tunnel": "Sources/Tunnel/ProxyTunnel.swift",
    "SwiftletShare": "Sources/SwiftletShare/ShareSession.swift",
    "JSON": "Sources/JSON/JSONValue.swift",
    "AgentProtocol": "Sources/AgentProtocol/AgentMethods.swift",
    "ShareService": "Sources/ShareService/ShareServer.swift",
    "ShareFrontend": "Sources/ShareFrontend/PublicFrontend.swift",
    "ShareAgent": "Sources/ShareAgent/Agent.swift",
}
# What the first words must have besides the target's name: what the target is not, and where to start.
DENIAL = re.compile(r"\b(?:no|not|nothing|none|neither|never)\b", re.IGNORECASE)
START = re.compile(r"\bStart reading (?:at|here)\b")

# Files that import the full Foundation, one a line.
FOUNDATION_LIST = ".ci/foundation.txt"

# What stands in one place: what it looks like, where it may stand, and what the others call. Ids come from EntityID; cores take
# a generator as an argument.
ONE_OF_EACH = [
    (re.compile(r"SystemRandomNumberGenerator|\.random\(in: (?!.*using:)|SymmetricKey\(size:|randombytes_"),
     ("Sources/PKI/RandomSource.swift", "Sources/Model/EntityID.swift"), "random numbers come from RandomSource"),
    (re.compile(r"\bcreateFile\(|\brename\(|\bO_CREAT\b|\.write\(to: (?!&)"),
     ("Sources/Transport/PrivateFile.swift", "Sources/Transport/ProcessLock.swift", "Sources/Store/", "Sources/WebRelay/"),
     "files are written by PrivateFile"),
]

# A line of Swift ends at this column at the latest; string literals, regular expressions, tables and URLs may be longer.
COLUMNS = 120
LITERAL = re.compile(r'#+".*?"#+|"(?:\\.|[^"\\])*"|#*/(?:\\.|[^/\\\n])+/#*')

IMPORT = re.compile(
    r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:public |package |internal |private |fileprivate )?"
    r"import (?:struct |class |enum |protocol |func |var |let |typealias )?(\w+)")


class Target:
    """A target of Package.swift: its files of Swift, and the modules that Package.swift gives it."""

    def __init__(self, described):
        self.name = described["name"]
        self.files = [os.path.join(described["path"], file) for file in described.get("sources", []) if file.endswith(".swift")]
        self.products = set(described.get("product_dependencies", []))
        self.given = self.products | set(described.get("target_dependencies", []))


class Import:
    """One import of a file."""

    def __init__(self, path, line, module, is_public, is_fallback):
        self.place = f"{path}:{line}"
        self.module = module
        self.is_public = is_public
        # Compiled only where FoundationEssentials is no module of its own, as on macOS.
        self.is_fallback = is_fallback


def imports(path):
    """The imports of a file of Swift."""
    conditions = []
    with open(path, encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            text = line.strip()
            if text.startswith("#if"):
                conditions.append(text)
            elif text.startswith("#else") and conditions:
                conditions[-1] = f"not {conditions[-1]}"
            elif text.startswith("#endif") and conditions:
                conditions.pop()
            elif match := IMPORT.match(line):
                is_fallback = "not #if canImport(FoundationEssentials)" in conditions
                yield Import(path, number, match.group(1), "public import" in text, is_fallback)


def package_targets():
    """The targets of Package.swift."""
    described = subprocess.run(["swift", "package", "describe", "--type", "json"], capture_output=True, text=True)
    if described.returncode != 0:
        sys.exit(f"Package.swift: cannot be described: {described.stderr.strip().splitlines()[-1:]}")
    return [Target(target) for target in json.loads(described.stdout)["targets"]]


def tracked_files():
    return subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()


def floors(targets):
    for name in sorted(os.listdir("Sources")):
        if name not in FLOORS:
            yield f"Sources/{name}: not on any floor; add it to docs/architecture.md and .ci/check_tree.py"
    for target in targets:
        floor = FLOORS.get(target.name)
        if floor is None:
            continue
        for one in (one for path in target.files for one in imports(path)):
            above = FLOORS.get(one.module, -1)
            if above >= floor and one.module != target.name and (target.name, one.module) not in SAME_FLOOR:
                yield f"{one.place}: {target.name} (floor {floor}) imports {one.module} (floor {above})"
            if floor <= 2 and one.module in HEAVY:
                yield f"{one.place}: {target.name} (floor {floor}) imports {one.module}; floors 1 and 2 have no I/O"


def dependencies(targets):
    known = {target.name for target in targets}.union(*(target.products for target in targets))
    for target in targets:
        if not target.files:
            continue
        imported = {}
        for one in (one for path in target.files for one in imports(path)):
            imported.setdefault(one.module, one.place)
        for module in sorted(target.given - imported.keys()):
            yield f"Package.swift: no file of {target.name} imports {module}; take it away from the target"
        for module in sorted(imported.keys() & known - target.given - {target.name}):
            yield f"{imported[module]}: {target.name} imports {module}, which Package.swift does not give it"


def sdk(targets):
    for target in targets:
        if target.name not in SDK:
            continue
        for one in (one for path in target.files for one in imports(path)):
            if one.is_public and one.module in HIDDEN:
                yield f"{one.place}: {target.name} shows types of {one.module}; give it a type of its own"


def full_foundation(tracked):
    """The files of Sources that import the full Foundation, each with the place where it does."""
    found = {}
    for path in tracked:
        if path.startswith("Sources/") and path.endswith(".swift") and os.path.exists(path):
            for one in imports(path):
                if one.module == "Foundation" and not one.is_fallback:
                    found[path] = one.place
    return found


def listed_foundation():
    with open(FOUNDATION_LIST, encoding="utf-8") as lines:
        return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def foundation(tracked):
    found, listed = full_foundation(tracked), listed_foundation()
    for path in sorted(found.keys() - listed):
        yield f"{found[path]}: imports the full Foundation; FoundationEssentials is what a new file may import"
    for path in sorted(listed - found.keys()):
        yield f"{FOUNDATION_LIST}: {path} does not import the full Foundation any more; write the list anew (--foundation)"


def write_foundation(tracked):
    """Replaces the list by what is found, unless that is more."""
    found, listed = full_foundation(tracked), listed_foundation()
    if len(found) > len(listed):
        sys.exit(f"{len(found)} files import the full Foundation, {len(listed)} may: the list only shrinks")
    with open(FOUNDATION_LIST, encoding="utf-8") as lines:
        head = [line for line in lines if line.startswith("#")]
    with open(FOUNDATION_LIST, "w", encoding="utf-8") as out:
        out.writelines(head + [f"{path}\n" for path in sorted(found)])


def first_paragraphs(path):
    """The paragraphs of comment before the first declaration of a file."""
    paragraph = []
    with open(path, encoding="utf-8") as source:
        for line in source:
            text = line.strip()
            words = text.lstrip("/").strip()
            if text.startswith("//") and words:
                paragraph.append(words)
                continue
            if paragraph:
                yield " ".join(paragraph)
                paragraph = []
            if text and not text.startswith(("//", "#")) and not IMPORT.match(line):
                return


def main_files(targets):
    for target in targets:
        if target.name not in FLOORS or not target.files:
            continue
        path = MAIN_FILES.get(target.name, f"Sources/{target.name}/{target.name}.swift")
        if not os.path.exists(path):
            yield f"{path}: {target.name} has no main file; write it, or name it in MAIN_FILES of .ci/check_tree.py"
            continue
        words = next((text for text in first_paragraphs(path) if text.startswith(f"{target.name}: ")), None)
        if words is None:
            yield f"{path}:1: does not open with `// {target.name}: ` and what the target is for"
        elif not DENIAL.search(words):
            yield f"{path}:1: the first words do not say what {target.name} is not"
        elif not START.search(words):
            yield f"{path}:1: the first words do not say where to start (`Start reading at`)"


def one_of_each(tracked):
    for path in tracked:
        if not path.startswith("Sources/") or not path.endswith(".swift") or not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as source:
            for number, line in enumerate(source, 1):
                for pattern, places, words in ONE_OF_EACH:
                    if pattern.search(line) and not line.lstrip().startswith("//") and not path.startswith(places):
                        yield f"{path}:{number}: {words}"


def long_lines(tracked):
    for path in tracked:
        if path.endswith(".swift") and not path.endswith(".pb.swift") and os.path.exists(path):
            yield from (f"{path}:{number}: the line is longer than {COLUMNS} columns" for number in too_long(path))


def too_long(path):
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


def build_products(tracked):
    for path in tracked:
        is_made = path.startswith(".build") or path.endswith((".pyc", ".o", ".swiftmodule"))
        if is_made or path == "Package.resolved":
            yield f"{path}: is a build product and must not be committed"


def main():
    tracked = tracked_files()
    if sys.argv[1:] == ["--foundation"]:
        write_foundation(tracked)
        return 0
    targets = package_targets()
    problems = [*floors(targets), *dependencies(targets), *sdk(targets), *foundation(tracked), *main_files(targets)]
    problems += [*one_of_each(tracked), *long_lines(tracked), *build_products(tracked)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
