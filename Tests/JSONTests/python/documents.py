#!/usr/bin/env python3
"""Random documents, and what Python's json says of them against what Swiftlet's reader and writer say.

    documents.py make SEED COUNT      documents on stdout, one a line, in Base64
    documents.py compare SEED COUNT   reads answers from stdin, a line for each of the same documents: `-` where the
                                      document was refused, else Base64 of the document as it was written again

`compare` prints a line of JSON for each disagreement that RFC 8259 or the reader's limits do not explain, and at the end
a line with what there was: {"documents": N, "accepted": N, "refused": N, "explained": {REASON: N}}."""
import base64
import json
import random
import re
import sys
import unicodedata

# The reader's limits: levels of nesting, and bytes of one number.
DEPTH = 64
NUMBER = 400

# Where the reader refuses what Python accepts, and why it may.
DIFFERENCES = {
    "surrogate": "half of a surrogate pair is no Unicode text; Python keeps it",
    "overflow": "a number beyond a double has no value; Python says infinity",
    "digits": f"a number of more than {NUMBER} bytes is refused unread; Python stops at 4300 digits, or nowhere",
    "depth": f"more than {DEPTH} levels of nesting; Python stops at a thousand or so",
}
# Python's NaN and Infinity are no JSON: its own switch turns them off here.

SPACE = ["", "", "", " ", "\n", "\t", "\r\n", "  \t "]
STRANGE_SPACE = ["\f", "\v", "\u00a0", "\u2028", "\ufeff", "\0", "/**/"]
SIMPLE_ESCAPES = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
INVALID = [
    "", " ", "{", "}", "[", "]", "[,]", "[1,]", "[,1]", "{,}", '{"a"}', '{"a":}', '{"a":1,}', "{a:1}", "{'a':1}", "{1:2}",
    '{"a" 1}', '{"a":1 "b":2}', "[1 2]", "[1]]", "01", "-01", "00", "1.", ".5", "-", "+1", "1e", "1e+", "1.e1", "0x10", "1_0",
    "--1", "1.2.3", "\u0661", "tru", "True", "TRUE", "nul", "None", "nulll", "truefalse", "NaN", "-NaN", "Infinity",
    "-Infinity", "inf", '"', '"a', '"\\"', '"\\x41"', '"\\u12"', '"\\u123g"', '"\\u+123"', '"\\u 123"', '"\\U00000041"', '"\\0"',
    "\"\\'\"", "'a'", '"a\nb"', '"a\tb"', '"\0"', '"\x1f"', "\ufeff1", "1\0", "[1]x", "//1\n1", "[1] // a", "# a\n1", "undefined",
]
RAW = [
    b'"\xff"', b'"\xc0\x80"', b'"\xc3"', b'"\xed\xa0\x80"', b'"\xed\xa0\xbd\xed\xb8\x80"', b'"\xf4\x90\x80\x80"', b'"\xf8\x88\x80\x80\x80"',
    b"\xef\xbb\xbf[]", b"\xff\xfe[\x00]\x00", b"[\x80]", b'"\x7f"', b'{"\xe2\x82":1}',
]


class Refused(ValueError):
    """Something in the document that only the reader refuses; its text is a key of DIFFERENCES."""


class Maker:
    """Documents out of a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, part):
        return self.random.random() < part

    def space(self):
        if self.chance(0.002):
            return self.random.choice(STRANGE_SPACE)
        return self.random.choice(SPACE)

    def digits(self, count):
        return "".join(self.random.choice("0123456789") for _ in range(count))

    def whole(self):
        kind = self.random.randrange(6)
        if kind == 0:
            return str(self.random.randrange(10))
        if kind == 1:
            return str(self.random.choice([2**31, 2**32, 2**53, 2**63, 2**64, 10**18, 10**19]) + self.random.randrange(-2, 3))
        if kind == 2 and self.chance(0.2):
            return "1" + self.digits(self.random.choice([300, 308, 309, 399, 400, 401, 1000]))
        return str(self.random.getrandbits(self.random.randrange(1, 80)))

    def number(self):
        text = self.random.choice(["", "-"]) + self.whole()
        if self.chance(0.4):
            text += "." + self.digits(self.random.choice([1, 1, 2, 6, 17, 30]))
        if self.chance(0.3):
            exponent = self.random.choice([0, 1, 5, 22, 100, 300, 307, 308, 309, 320, 323, 324, 400, 99999])
            text += self.random.choice("eE") + self.random.choice(["", "+", "-"]) + self.random.choice(["", "0"]) + str(exponent)
        return text

    def character(self):
        kind = self.random.randrange(10)
        if kind < 5:
            return chr(self.random.randrange(0x20, 0x7F))
        if kind == 5:
            return chr(self.random.randrange(0x20))
        if kind == 6:
            return self.random.choice("éßñ漢字\u0301\u00a0\u2028\ufeff\uffff\x7f\ud7ff\ue000")
        if kind == 7:
            return self.random.choice("😀𝄞\U0010ffff\U00010000")
        if kind == 8 and self.chance(0.05):
            return chr(self.random.randrange(0xD800, 0xE000))
        return self.random.choice('"\\/{}[]:,')

    def string(self, length=None):
        return "".join(self.character() for _ in range(self.random.randrange(9) if length is None else length))

    def name(self):
        return self.random.choice(["a", "b", "\u00e9", "e\u0301", ""]) if self.chance(0.3) else self.string()

    def quoted(self, text):
        """One of the ways to write a string."""
        written = []
        for character in text:
            code = ord(character)
            if character in SIMPLE_ESCAPES and self.chance(0.8) and (character != "/" or self.chance(0.5)):
                written.append(SIMPLE_ESCAPES[character])
            elif code < 0x20 or character in '"\\' or 0xD800 <= code < 0xE000 or self.chance(0.15):
                units = [code] if code < 0x10000 else [0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF)]
                for unit in units:
                    digits = f"{unit:04x}"
                    written.append("\\u" + (digits.upper() if self.chance(0.5) else digits))
            else:
                written.append(character)
        return '"' + "".join(written) + '"'

    def value(self, depth):
        kind = self.random.randrange(12 if depth > 0 else 8)
        if kind < 3:
            text = self.number()
        elif kind < 6:
            text = self.quoted(self.string())
        elif kind < 8:
            text = self.random.choice(["true", "false", "null"])
        elif kind < 10:
            text = self.listed("[", "]", [self.value(depth - 1) for _ in range(self.random.randrange(5))])
        else:
            members = [
                self.quoted(self.name()) + self.space() + ":" + self.value(depth - 1) for _ in range(self.random.randrange(6))
            ]
            text = self.listed("{", "}", [self.space() + member for member in members])
        return self.space() + text + self.space()

    def listed(self, start, end, parts):
        return start + (",".join(parts) if parts else self.space()) + end

    def plain(self, depth):
        """A value of Python's, for Python to write."""
        kind = self.random.randrange(9 if depth > 0 else 6)
        if kind == 0:
            return self.random.choice([None, True, False])
        if kind == 1:
            return self.random.randrange(-(2**70), 2**70) >> self.random.randrange(70)
        if kind == 2:
            return self.random.choice([0.0, -0.0, 0.1, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e16, 1e15, 123456789.5])
        if kind == 3:
            return self.random.uniform(-1, 1) * 10.0 ** self.random.randrange(-300, 300)
        if kind < 6:
            return self.string()
        if kind < 8:
            return {self.name(): self.plain(depth - 1) for _ in range(self.random.randrange(5))}
        return [self.plain(depth - 1) for _ in range(self.random.randrange(5))]

    def nested(self):
        """As deep as is asked for, on the two sides of the limit."""
        depth = self.random.choice([1, 10, DEPTH - 1, DEPTH, DEPTH, DEPTH + 1, 200])
        levels = [self.random.random() < 0.5 for _ in range(depth)]
        start = "".join("[" if is_list else '{"a":' for is_list in levels)
        end = "".join("]" if is_list else "}" for is_list in reversed(levels))
        return start + self.number() + end

    def damaged(self, document):
        """A document with some bytes changed, taken away, doubled or added."""
        for _ in range(self.random.randrange(1, 4)):
            place = self.random.randrange(len(document) + 1)
            kind = self.random.randrange(4)
            if kind == 0:
                document = document[:place] + document[place + self.random.randrange(1, 4) :]
            elif kind == 1:
                document = document[:place] + bytes([self.random.choice(b' "\\{}[]:,.-+0123456789eEunlt\x00\x80\xff')]) + document[place:]
            elif kind == 2:
                document = document[:place] + bytes([self.random.randrange(256)]) + document[place + 1 :]
            else:
                document = document[:place] + document[max(0, place - 3) :]
        return document

    def document(self):
        kind = self.random.randrange(20)
        if kind < 8:
            return self.value(4).encode("utf-8", "surrogatepass")
        if kind < 12:
            text = json.dumps(
                self.plain(4), ensure_ascii=self.chance(0.5), indent=self.random.choice([None, None, 2, "\t"]),
                separators=self.random.choice([None, (",", ":"), (" , ", " : ")]))
            return text.encode("utf-8", "surrogatepass")
        if kind < 14:
            return self.nested().encode()
        if kind < 15:
            return self.random.choice(INVALID).encode()
        if kind < 16:
            return self.random.choice(RAW)
        return self.damaged(self.value(3).encode("utf-8", "surrogatepass"))


def documents(seed, count):
    maker = Maker(seed)
    return [maker.document() for _ in range(count)]


def no_constant(text):
    raise ValueError(f"{text} is no JSON")


def depth_of(text):
    """Of a document that Python accepts."""
    deepest = depth = 0
    for bracket in re.findall(r'[\[\]{}]', re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def read(document):
    """The value of a document as Python sees it. Raises ValueError where it is none, Refused where only we refuse it."""
    found = []

    def number(make):
        def read_number(text):
            if len(text) > NUMBER:
                found.append("digits")
                return 0
            value = float(text)
            if value in (float("inf"), float("-inf")):
                found.append("overflow")
                return 0
            return make(text)

        return read_number

    def members(pairs):
        for pair in pairs:
            check(pair)
        # Names that Unicode calls equivalent are one name (DocumentTests.equivalentNames).
        return {unicodedata.normalize("NFC", name): value for name, value in pairs}

    def check(value):
        if isinstance(value, str) and any(0xD800 <= ord(character) < 0xE000 for character in value):
            found.append("surrogate")
        elif isinstance(value, (list, tuple)):
            for element in value:
                check(element)

    # Strictly: bytes that are no UTF-8, a byte order mark and other encodings are no JSON of ours.
    text = document.decode("utf-8")
    value = json.loads(
        text, parse_int=number(int), parse_float=number(float), parse_constant=no_constant, object_pairs_hook=members)
    check(value)
    if depth_of(text) > DEPTH:
        found.append("depth")
    if found:
        raise Refused(found[0])
    return value


def is_same(theirs, ours):
    """Whether two values are the same: whole numbers of 64 bits exactly, other numbers as doubles."""
    if isinstance(theirs, int) and not isinstance(theirs, bool) and not -(2**63) <= theirs < 2**63:
        theirs = float(theirs)
    if type(theirs) is not type(ours):
        return False
    if isinstance(theirs, float):
        return repr(theirs) == repr(ours)
    if isinstance(theirs, list):
        return len(theirs) == len(ours) and all(map(is_same, theirs, ours))
    if isinstance(theirs, dict):
        return theirs.keys() == ours.keys() and all(is_same(value, ours[name]) for name, value in theirs.items())
    return theirs == ours


def judge(document, answer):
    """What is wrong with an answer, as a text or None; and the reason of a difference that is allowed, or None."""
    try:
        theirs = read(document)
    except Refused as difference:
        return (None if answer is None else f"accepted: {DIFFERENCES[str(difference)]}"), str(difference)
    except ValueError as error:
        return (None if answer is None else f"accepted, and Python says: {error}"), None
    if answer is None:
        return f"refused, and Python reads {theirs!r}", None
    try:
        ours = read(answer)
    except ValueError as error:
        return f"was written as what Python refuses: {error!r}", None
    return (None if is_same(theirs, ours) else f"Python reads {theirs!r}, and of what was written {ours!r}"), None


def main():
    verb, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    made = documents(seed, count)
    if verb == "make":
        for document in made:
            print(base64.b64encode(document).decode())
        return 0
    answers = [line.strip() for line in sys.stdin]
    if len(answers) != len(made):
        print(json.dumps({"wrong": f"{len(answers)} answers to {len(made)} documents"}))
        return 0
    counts = {"documents": len(made), "accepted": 0, "refused": 0, "explained": dict.fromkeys(DIFFERENCES, 0)}
    for document, answer in zip(made, answers):
        wrong, difference = judge(document, None if answer == "-" else base64.b64decode(answer))
        counts["refused" if answer == "-" else "accepted"] += 1
        if difference is not None:
            counts["explained"][difference] += 1
        if wrong is not None:
            print(json.dumps({"document": repr(document), "wrong": wrong}))
    print(json.dumps(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
