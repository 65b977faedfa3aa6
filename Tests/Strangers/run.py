#!/usr/bin/env python3
"""Programs that know nothing of Swiftlet, at its doors: WebDAV clients, JDKs, browsers' libraries, other people's servers. Started by `./run strangers [AREA[:WORD] ...]`.

To add one, write `Tests/Strangers/test_AREA.py`:

    \"\"\"What this area is.\"\"\"
    DEBIAN = ["rclone"]              # packages that apt-get installs first; may be left out
    PYPI = ["websockets==15.0.1"]    # packages of the virtual environment in which everything here runs; may be left out

    import place

    def test_rclone_copies_a_tree_there_and_back():
        ...

The two lists must be literals: they are read before the file is imported, so the file may import what they name. Each function `test_*` is one case, called without arguments, in the order of
the file; what it raises is its failure, what it returns is shown beside its name (a count, a version). `place.skip("why")` ends a case that this machine cannot run. `place` has the fixtures: one share
service for all cases (`place.service()`), or one of your own to ill-treat (`place.ShareService()`), shares, accesses, servers, temporary directories; see there. `SWIFTLET` in the environment is the path of
the executable. Modules of `Benchmarks` (network, honest) can be imported too. End only processes that you started, by their id."""
import ast
import glob
import importlib
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "Benchmarks")]


def areas(wanted):
    """- Returns: (name, path, words) of the files that are asked for; all without a wish."""
    known = {os.path.basename(path)[5:-3]: path for path in sorted(glob.glob(os.path.join(HERE, "test_*.py")))}
    if not wanted:
        return [(name, path, []) for name, path in known.items()]
    chosen = {}
    for wish in wanted:
        name, _, word = wish.partition(":")
        if name not in known:
            sys.exit(f"error: there is no area {name}; there are {', '.join(known)}")
        words = chosen.setdefault(name, [])
        if word:
            words.append(word)
    return [(name, known[name], words) for name, words in chosen.items()]


def packages(path, kind):
    """The literal list that a file assigns to `kind`, without importing it."""
    with open(path, encoding="utf-8") as file:
        for node in ast.parse(file.read()).body:
            if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == kind for target in node.targets):
                return ast.literal_eval(node.value)
    return []


def main():
    arguments = sys.argv[1:]
    if arguments and arguments[0] in ("--debian", "--pypi"):
        kind = arguments[0][2:].upper()
        print("\n".join(sorted({package for _, path, _ in areas(arguments[1:]) for package in packages(path, kind)})))
        return 0
    if not os.access(os.environ.get("SWIFTLET", ""), os.X_OK):
        sys.exit("error: SWIFTLET must be the path of the executable; use ./run strangers")
    import place
    green, red, dim, plain = ("\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m") if sys.stdout.isatty() else ("", "", "", "")
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    try:
        for name, path, words in areas(arguments):
            module = importlib.import_module(f"test_{name}")
            for case, function in [(case, value) for case, value in vars(module).items() if case.startswith("test_") and callable(value)]:
                if words and not any(word in case for word in words):
                    continue
                begin, title = time.monotonic(), f"{name}: {case[5:].replace('_', ' ')}"
                print(f"{dim}{title} ...{plain}", file=sys.stderr, flush=True)
                try:
                    detail = function()
                    outcome, colour, text = "passed", green, f" ({detail})" if detail is not None else ""
                except place.Skipped as reason:
                    outcome, colour, text = "skipped", dim, f": {reason}"
                except BaseException as error:
                    if isinstance(error, KeyboardInterrupt):
                        raise
                    outcome, colour, text = "failed", red, "\n" + "".join(traceback.format_exception(error)).rstrip()
                counts[outcome] += 1
                print(f"{colour}{outcome:8}{plain}{title}{text}  {dim}{time.monotonic() - begin:.1f} s{plain}", flush=True)
    finally:
        place.stop()
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count or outcome == "passed"))
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
