#!/usr/bin/env python3
"""enroll.py JWT_FILE IDENTITY_FILE: enrolls with the token and writes the identity file (mode 0600).

Reports `enrolled` with the controller's address and which parts of the identity are there."""
import json
import os
import sys

import openziti

from report import fail, report


def main(jwt_file, identity_file):
    try:
        text = openziti.enroll(jwt_file)
    except Exception as error:  # RuntimeError with the text of the C SDK
        fail("enrolled", error)
    identity = json.loads(text)
    descriptor = os.open(identity_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    parts = identity.get("id", {})
    report("enrolled", ok=True, file=identity_file, controller=identity.get("ztAPI"), parts=sorted(key for key, value in parts.items() if value))
    os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
