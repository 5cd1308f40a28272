"""JSON as TensorFlow Serving reads and shows it: as RapidJSON 1.1.0 does, with its messages.

In contrast to Python's reader it takes any depth, `Inf` and `-NaN`, bytes that are no UTF-8, and
whatever follows the value; it refuses numbers that no double can hold. Bytes that are no UTF-8 are
surrogates in strings, see `surrogateescape` in Python's documentation of codecs.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_DIGITS = re.compile(r"[0-9]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_ESCAPED = {'"': '"', "/": "/", "\\": "\\", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX = re.compile(r"[0-9A-Fa-f]{4}")
# Escaped halves of a pair without the other half, or what may be one.
_HALF = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)
_DECODER = json.JSONDecoder()
_LARGEST = 256  # Bytes of a value in a message.


class ParseError(Exception):
    """What is no JSON, in RapidJSON's words."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} at offset: {offset}")


def parse(body: bytes) -> dict[str, Any] | None:
    """The object at the beginning of a text, or None where only RapidJSON's way tells.

    Python's reader is fast. It takes numbers that no double can hold, of which `parse_slowly` says
    so, and has the last of several members of one name, where RapidJSON has the first.
    """
    if b"\\u" in body and _HALF.search(body):
        return None
    try:
        text = body.decode("utf-8", "surrogateescape")
        found, _ = _DECODER.raw_decode(text, _after_space(text, 0))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def parse_slowly(body: bytes) -> Any:
    """The value at the beginning of a text, read as RapidJSON reads it.

    Raises:
        ParseError: if there is none.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    # A character for each byte, for the offsets, and one that ends the text.
    text = body.decode("latin-1") + "\0"
    position = _after_space(text, 0)
    state, stack = "start", _Stack()
    while state != "finish":
        character = text[position]
        if state in _BEFORE_VALUE and character in "[{":
            stack.open(character)
            state, position = ("array" if character == "[" else "object"), position + 1
        elif state in _BEFORE_VALUE and character not in "]},:\0":
            value, position = _scalar(text, position)
            state = stack.add(value)
        elif state in ("object", "member,") and character == '"':
            stack.key, position = _string(text, position)
            state = "key"
        elif (state, character) in _GOES_ON:
            state, position = _GOES_ON[state, character], position + 1
        elif (state, character) in _ENDS:
            state, position = stack.close(), position + 1
        else:
            raise ParseError(_WRONG[state], position)
        position = _after_space(text, position) if state != "finish" else position
    return stack.root


_BEFORE_VALUE = ("start", "array", "element,", "key:")
_GOES_ON = {("key", ":"): "key:", ("member", ","): "member,", ("element", ","): "element,"}
_ENDS = {("object", "}"), ("member", "}"), ("array", "]"), ("element", "]")}
_WRONG = {
    "start": "The document is empty.",
    "object": "Missing a name for object member.",
    "member,": "Missing a name for object member.",
    "key": "Missing a colon after a name of object member.",
    "member": "Missing a comma or '}' after an object member.",
    "key:": "Invalid value.",
    "array": "Invalid value.",
    "element,": "Invalid value.",
    "element": "Missing a comma or ']' after an array element.",
}


class _Stack:
    """The lists and dicts that are open, and the key of the next value."""

    def __init__(self) -> None:
        self.root: Any = None
        self.key = ""
        self._open: list[tuple[Any, str]] = []

    def open(self, character: str) -> None:
        made: Any = [] if character == "[" else {}
        self._put(made)
        self._open.append((made, self.key))

    def close(self) -> str:
        self._open.pop()
        return self._state()

    def add(self, value: Any) -> str:
        self._put(value)
        return self._state()

    def _put(self, value: Any) -> None:
        if not self._open:
            self.root = value
        elif isinstance(self._open[-1][0], list):
            self._open[-1][0].append(value)
        else:
            self._open[-1][0].setdefault(self.key, value)  # The first is what is found there.

    def _state(self) -> str:
        if not self._open:
            return "finish"
        return "element" if isinstance(self._open[-1][0], list) else "member"


def _after_space(text: str, position: int) -> int:
    return _SPACE.match(text, position).end()  # type: ignore[union-attr]


def _scalar(text: str, position: int) -> tuple[Any, int]:
    if text[position] == '"':
        return _string(text, position)
    for word, value in (("true", True), ("false", False), ("null", None)):
        if text[position] == word[0]:
            return value, _word(text, position, word)
    return _number(text, position)


def _word(text: str, position: int, word: str) -> int:
    """The place after a word."""
    for character in word:
        if text[position] != character:
            raise ParseError("Invalid value.", position)
        position += 1
    return position


def _number(text: str, start: int) -> tuple[int | float, int]:
    position = start + (text[start] == "-")
    sign = -1 if position > start else 1
    if text[position] == "N":
        return float("nan"), _word(text, position, "NaN")
    if text[position] == "I":
        position = _word(text, position, "Inf")
        if text[position] == "i":
            position = _word(text, position, "inity")
        return sign * float("inf"), position
    if not "0" <= text[position] <= "9":
        raise ParseError("Invalid value.", position)
    end = _digits(text, position) if text[position] != "0" else position + 1
    whole, fraction, exponent = end, 0, 0
    if text[end] == ".":
        fraction = _digits(text, end + 1) - end - 1
        end += 1 + fraction
        if not fraction:
            raise ParseError("Miss fraction part in number.", end)
    if text[end] in "eE":
        mark = end + 1 + (text[end + 1] in "+-")
        end = _digits(text, mark)
        if end == mark:
            raise ParseError("Miss exponent in number.", mark)
        exponent = int(text[mark:end][:9])
        if text[mark - 1] != "-" and end - mark > 1 and exponent > 308 + min(fraction, 17):
            raise ParseError("Number too big to be stored in double.", start)
    if end == whole:
        # Of more digits than these no double is.
        number = int(text[position:whole][:400])
        if number < 2**64 and (sign > 0 or number <= 2**63):
            return sign * number, end
        if number // 10 >= 1.7976931348623157e307:
            raise ParseError("Number too big to be stored in double.", start)
    return float(text[start:end]), end


def _digits(text: str, position: int) -> int:
    return _DIGITS.match(text, position).end()  # type: ignore[union-attr]


def _string(text: str, position: int) -> tuple[str, int]:
    parts, position = [], position + 1
    while True:
        end = _PLAIN.match(text, position).end()  # type: ignore[union-attr]
        parts.append(text[position:end].encode("latin-1"))
        position, character = end, text[end]
        if character == '"':
            return b"".join(parts).decode("utf-8", "surrogateescape"), position + 1
        if character == "\0":
            raise ParseError("Missing a closing quotation mark in string.", position)
        if character != "\\":
            raise ParseError("Invalid escape character in string.", position)
        escaped = text[position + 1]
        if escaped == "u":
            code, end = _code(text, position)
            parts.append(chr(code).encode("utf-8", "surrogatepass"))
            position = end
        elif escaped in _ESCAPED:
            parts.append(_ESCAPED[escaped].encode())
            position += 2
        else:
            raise ParseError("Invalid escape character in string.", position)


def _code(text: str, start: int) -> tuple[int, int]:
    """The character of an escape at a place, and the place after it."""
    code, position = _hex(text, start, start)
    if not 0xD800 <= code <= 0xDBFF:
        return code, position
    if text[position : position + 2] != "\\u":
        raise ParseError("The surrogate pair in string is invalid.", start)
    second, position = _hex(text, position, start)
    if not 0xDC00 <= second <= 0xDFFF:
        raise ParseError("The surrogate pair in string is invalid.", start)
    return 0x10000 + ((code - 0xD800) << 10 | second - 0xDC00), position


def _hex(text: str, position: int, start: int) -> tuple[int, int]:
    found = _HEX.match(text, position + 2)
    if found is None:
        raise ParseError("Incorrect hex digit after \\u escape in string.", start)
    return int(found[0], 16), found.end()


# Values in messages.


class _Full(Exception):
    """There is room for no more."""


def shown(value: Any) -> str:
    """A value as a message shows it: indented, lists in one line, and cut where it is long."""
    writer = _Writer()
    with contextlib.suppress(_Full):
        writer.write(value, 0)
    text = "".join(writer.parts).encode("utf-8", "surrogateescape")[: 2 * _LARGEST]
    return text.decode("utf-8", "replace")


class _Writer:
    """Writes tokens until there are enough bytes."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._size = 0

    def _put(self, before: str, token: str) -> None:
        if self._size >= _LARGEST:
            raise _Full
        self.parts.append(before + token)
        self._size += len((before + token).encode("utf-8", "surrogateescape"))

    def write(self, value: Any, depth: int, before: str = "") -> None:
        if isinstance(value, dict):
            self._put(before, "{")
            indent = "\n" + "    " * (depth + 1)
            for index, (key, part) in enumerate(value.items()):
                self._put(("," if index else "") + indent, _text(key))
                self.write(part, depth + 1, ": ")
            self._put("\n" + "    " * depth if value else "", "}")
        elif isinstance(value, list):
            self._put(before, "[")
            for index, part in enumerate(value):
                self.write(part, depth + 1, ", " if index else "")
            self._put("", "]")
        elif isinstance(value, float) and value - value != 0:
            self._put(before, "")
            raise _Full  # It writes neither NaN nor infinities.
        else:
            self._put(before, _token(value))


def _token(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return str(value)
    return _double(float(value))


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _double(value: float) -> str:
    """The shortest digits, with an exponent only where there would be many zeros."""
    sign, value = ("-", -value) if value < 0 or str(value) == "-0.0" else ("", value)
    mantissa, _, exponent = f"{value!r}e0".partition("e")
    whole, _, fraction = mantissa.partition(".")
    power = int(exponent.partition("e")[0] or 0)
    fraction = fraction if fraction != "0" else ""
    digits = (whole + fraction).lstrip("0").rstrip("0") or "0"
    # The value is 0.digits times ten to this.
    point = len(whole) + power
    if whole == "0":
        point = power - (len(fraction) - len(fraction.lstrip("0")))
    if digits == "0":
        return f"{sign}0.0"
    if len(digits) <= point <= 21:
        return f"{sign}{digits.ljust(point, '0')}.0"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{rest}e{point - 1}"


def kind_of(value: Any) -> str:
    """What RapidJSON calls the type of a value."""
    if isinstance(value, bool):
        return "True" if value else "False"
    for kind, name in ((dict, "Object"), (list, "Array"), (str, "String")):
        if isinstance(value, kind):
            return name
    return "Null" if value is None else "Number"
