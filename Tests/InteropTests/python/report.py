"""One JSON object a line on stdout: the only thing the Swift tests read. Text for people goes to stderr."""
import json
import os


def report(event, **fields):
    print(json.dumps({"event": event, **fields}, sort_keys=True), flush=True)


def fail(event, error, code=1):
    """Reports an error as the SDK told it (`Exception(number, text)`) and ends the process.

    os._exit, because libziti's own thread can keep a failed process alive."""
    arguments = getattr(error, "args", ())
    number = arguments[0] if arguments and isinstance(arguments[0], int) else None
    report(event, ok=False, error=str(error), code=number)
    os._exit(code)
