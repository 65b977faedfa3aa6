"""Drives and sites as their clients use them."""
import os
import re

import place

DEBIAN = ["litmus", "rclone", "cadaver", "davfs2", "curl"]


def drive():
    """- Returns: the directory behind a drive, and the drive's URL on this machine."""
    root = place.directory()
    service = place.service()
    share = service.private(root, "--backend-mode", "drive")
    return root, f"http://127.0.0.1:{service.access(share)}/"


def tree(root):
    """Relative path -> content; None for a directory."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders:
            found[os.path.relpath(os.path.join(folder, name), root)] = None
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                found[os.path.relpath(os.path.join(folder, name), root)] = file.read()
    return found


def sow(root):
    """Files that are hard to carry: names, sizes, depth."""
    for name, content in {
        "plain.txt": b"plain", "empty": b"", "a b/c d.txt": b"spaces", "\u00fcber/\u65e5\u672c.txt": b"letters", "deep/1/2/3/4/5.txt": b"deep", "large.bin": os.urandom(3_000_000),
        "100% & <more> #1?.txt": b"signs", ".hidden": b"dot",
    }.items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    return tree(root)


def test_litmus_passes_whole():
    _, url = drive()
    done = place.run("litmus", "-k", url, cwd=place.directory(), check=False, timeout=300)
    totals = re.findall(r"summary for `(\w+)': of (\d+) tests run: (\d+) passed, (\d+) failed", done.stdout)
    assert [name for name, *_ in totals] == ["basic", "copymove", "props", "locks", "http"], done.stdout
    assert done.returncode == 0 and all(failed == "0" for *_, failed in totals), done.stdout
    assert "WARNING" not in done.stdout, done.stdout
    return f"{sum(int(passed) for _, _, passed, _ in totals)} tests"


def test_rclone_copies_syncs_moves_and_deletes():
    root, url = drive()
    here, back = place.directory(), place.directory()
    sown = sow(here)
    options = ["--config", "/dev/null", "--webdav-url", url, "--retries", "1"]
    place.run("rclone", *options, "copy", "--create-empty-src-dirs", here, ":webdav:tree")
    assert tree(os.path.join(root, "tree")) == sown
    place.run("rclone", *options, "copy", ":webdav:tree", back)
    assert tree(back) == sown
    os.remove(os.path.join(here, "empty"))
    with open(os.path.join(here, "plain.txt"), "w") as file:
        file.write("other and longer")
    place.run("rclone", *options, "sync", "--size-only", here, ":webdav:tree")
    assert tree(os.path.join(root, "tree")) == tree(here)
    place.run("rclone", *options, "moveto", ":webdav:tree/deep", ":webdav:elsewhere")
    assert tree(os.path.join(root, "elsewhere"))["1/2/3/4/5.txt"] == b"deep" and not os.path.exists(os.path.join(root, "tree/deep"))
    place.run("rclone", *options, "purge", ":webdav:tree")
    assert not os.path.exists(os.path.join(root, "tree"))
    return f"{len(sown)} entries"


def test_cadaver_locks_edits_and_unlocks():
    root, url = drive()
    here = place.directory()
    with open(os.path.join(here, "note.txt"), "w") as file:
        file.write("first")
    script = "mkcol notes\ncd notes\nput note.txt\nlock note.txt\nput note.txt\ndiscover note.txt\nunlock note.txt\ncopy note.txt copy.txt\nmove copy.txt moved.txt\nls\nquit\n"
    said = place.run("cadaver", url, cwd=here, input=script).stdout
    assert "failed" not in said.lower(), said
    assert tree(os.path.join(root, "notes")) == {"note.txt": b"first", "moved.txt": b"first"}


def test_davfs2_makes_it_a_directory_of_this_machine():
    if os.getuid() != 0 or not os.path.exists("/dev/fuse"):
        place.skip("mounting needs root and /dev/fuse")
    root, url = drive()
    point, settings = place.directory(), os.path.join(place.directory(), "davfs2.conf")
    with open(settings, "w") as file:
        file.write("ask_auth 0\nuse_locks 1\ndelay_upload 0\n")
    os.chmod(settings, 0o600)
    mounted = place.run("mount.davfs", "-o", f"conf={settings}", url, point, check=False)
    if "not permitted" in mounted.stderr.lower():
        place.skip("this machine lets nobody mount: " + mounted.stderr.strip()[-200:])
    assert mounted.returncode == 0, mounted.stdout + mounted.stderr
    try:
        os.mkdir(os.path.join(point, "made"))
        with open(os.path.join(point, "made", "a.txt"), "w") as file:
            file.write("through the mount")
        os.rename(os.path.join(point, "made", "a.txt"), os.path.join(point, "made", "b.txt"))
        with open(os.path.join(point, "made", "b.txt"), "a") as file:
            file.write(", twice")
        with open(os.path.join(point, "gone"), "w") as file:
            file.write("x")
        os.remove(os.path.join(point, "gone"))
    finally:
        place.run("umount", point, timeout=120)
    assert tree(root) == {"made": None, "made/b.txt": b"through the mount, twice"}, tree(root)


def test_zrok2_copies_syncs_lists_moves_and_removes():
    zrok, service = place.zrok2(), place.service()
    root, here, back = place.directory(), place.directory(), place.directory()
    sown = sow(here)
    share = service.private(root, "--backend-mode", "drive")
    environment = {"HOME": place.directory(), "ZROK2_API_ENDPOINT": service.endpoint}
    place.run(zrok, "enable", service.account, "--headless", environment=environment)
    drive = f"zrok://{share.token}"
    place.run(zrok, "md", f"{drive}/made", environment=environment)
    place.run(zrok, "copy", f"file://{here}", f"{drive}/made", environment=environment)
    assert tree(os.path.join(root, "made")) == sown
    listing = place.run(zrok, "ls", f"{drive}/made", environment=environment).stdout
    assert "plain.txt" in listing and "large.bin" in listing, listing
    place.run(zrok, "copy", f"{drive}/made", f"file://{back}", environment=environment)
    assert tree(back) == sown
    times = {name: os.stat(os.path.join(root, "made", name)).st_mtime_ns for name, content in sown.items() if content is not None}
    with open(os.path.join(here, "plain.txt"), "w") as file:
        file.write("other and longer")
    place.run(zrok, "copy", "--sync", f"file://{here}", f"{drive}/made", environment=environment)
    assert tree(os.path.join(root, "made")) == tree(here)
    same = [name for name, time in times.items() if os.stat(os.path.join(root, "made", name)).st_mtime_ns == time]
    assert set(same) == set(times) - {"plain.txt"}, same
    place.run(zrok, "mv", f"{drive}/made/plain.txt", "/moved.txt", environment=environment)
    assert tree(root)["moved.txt"] == b"other and longer"
    place.run(zrok, "rm", f"{drive}/made", environment=environment)
    assert set(tree(root)) == {"moved.txt"}
    place.run(zrok, "disable", environment=environment)
    return f"{len(sown)} entries"
