#!/usr/bin/env python3
"""Each rule of check_tree.py finds what it is for, and says nothing of a tree as it should be."""
import os
import tempfile
import unittest

import check_tree

MAIN = "// Wire: bytes. It is no socket. Start reading at `Frame`.\n\nimport FoundationEssentials\n\nstruct Frame {}\n"


class Rules(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(directory.name)
        self.write(".ci/foundation.txt", "# Files\nSources/Wire/Old.swift\n")
        self.write("Sources/Wire/Old.swift", "import Foundation\n")
        self.write("Sources/Wire/FrameHeader.swift", MAIN)

    def write(self, path, text):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def target(self, name, targets=(), products=()):
        files = sorted(file for file in os.listdir(f"Sources/{name}"))
        return check_tree.Target({
            "name": name, "path": f"Sources/{name}", "sources": files,
            "target_dependencies": list(targets), "product_dependencies": list(products)})

    def tracked(self):
        return [os.path.join(folder, file) for folder, _, files in os.walk("Sources") for file in files]

    def assert_found(self, problems, *parts):
        problems = list(problems)
        self.assertEqual(len(problems), len(parts), problems)
        for problem, part in zip(problems, parts):
            self.assertIn(part, problem)

    def test_a_clean_tree(self):
        targets = [self.target("Wire")]
        for problems in (check_tree.floors(targets), check_tree.dependencies(targets), check_tree.main_files(targets),
                         check_tree.foundation(self.tracked()), check_tree.long_lines(self.tracked())):
            self.assert_found(problems)

    def test_an_import_upwards_and_io_in_a_low_floor(self):
        self.write("Sources/Wire/Old.swift", "import Transport\nimport NIOCore\n")
        self.assert_found(
            check_tree.floors([self.target("Wire")]), "Old.swift:1: Wire (floor 1) imports Transport", "Old.swift:2:")

    def test_a_target_on_no_floor(self):
        self.write("Sources/Attic/Attic.swift", "")
        self.assert_found(check_tree.floors([]), "Sources/Attic: not on any floor")

    def test_a_dependency_that_nothing_imports_and_an_import_that_nothing_gives(self):
        self.write("Sources/REST/REST.swift", "@testable public import Wire\n#if os(Linux)\n  import NIOCore\n#endif\n")
        targets = [self.target("Wire", products=["NIOCore"]), self.target("REST", targets=["Wire"])]
        self.assert_found(
            check_tree.dependencies(targets), "no file of Wire imports NIOCore",
            "REST.swift:3: REST imports NIOCore, which Package.swift does not give it")

    def test_a_type_of_wire_in_the_sdk(self):
        self.write("Sources/Swiftlet/A.swift", "public import Wire\n")
        self.write("Sources/Swiftlet/B.swift", "package import Wire\nimport Wire\n")
        self.assert_found(check_tree.sdk([self.target("Swiftlet")]), "Swiftlet/A.swift:1: Swiftlet shows types of Wire")

    def test_the_full_foundation_in_a_new_file(self):
        self.write("Sources/Wire/New.swift", "internal import Foundation\n")
        self.assert_found(check_tree.foundation(self.tracked()), "New.swift:1: imports the full Foundation")

    def test_the_full_foundation_where_there_is_no_other(self):
        self.write("Sources/Wire/New.swift", "#if canImport(FoundationEssentials)\n  import FoundationEssentials\n"
                   "#else\n  import Foundation\n#endif\n")
        self.assert_found(check_tree.foundation(self.tracked()))

    def test_a_file_that_needs_the_full_foundation_no_more_leaves_the_list(self):
        self.write("Sources/Wire/Old.swift", "import FoundationEssentials\n")
        self.assert_found(check_tree.foundation(self.tracked()), "Old.swift does not import the full Foundation")
        check_tree.write_foundation(self.tracked())
        self.assert_found(check_tree.foundation(self.tracked()))
        self.assertEqual(check_tree.listed_foundation(), set())

    def test_the_list_does_not_grow(self):
        self.write("Sources/Wire/New.swift", "import Foundation\n")
        with self.assertRaises(SystemExit):
            check_tree.write_foundation(self.tracked())

    def test_main_files_without_their_first_words(self):
        for text, found in [
                (MAIN.replace("Wire: bytes", "Bytes"), "does not open"), (MAIN.replace("no ", "a "), "is not"),
                (MAIN.replace("Start", "Stop"), "where to start"),
                ("struct Frame {}\n\n" + MAIN, "does not open")]:
            self.write("Sources/Wire/FrameHeader.swift", text)
            self.assert_found(check_tree.main_files([self.target("Wire")]), found)
        os.remove("Sources/Wire/FrameHeader.swift")
        self.assert_found(check_tree.main_files([self.target("Wire")]), "has no main file")

    def test_a_long_line(self):
        self.write("Sources/Wire/Old.swift", f"let a = {'1 + ' * 40}1\nlet b = \"{'x' * 130}\"\n// http://{'x' * 130}\n")
        self.assert_found(check_tree.long_lines(self.tracked()), "Old.swift:1:")

    def test_a_build_product(self):
        self.assert_found(check_tree.build_products([".build/x", "a.pyc", "Sources/Wire/Old.swift"]), ".build/x", "a.pyc")


if __name__ == "__main__":
    unittest.main()
