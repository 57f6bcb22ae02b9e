"""The syntax of nginx's configuration files, as nginx's own reader takes it (`ngx_conf_file.c`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

SPACES = " \t\r\n"
# What a backslash makes of the character behind it; before any other character, both stay.
ESCAPES = {'"': '"', "'": "'", "\\": "\\", "t": "\t", "r": "\r", "n": "\n"}
# nginx's Lua modules read the text between braces themselves.
RAW_BLOCK = "_by_lua_block"


class ConfigurationError(Exception):
    """A file that nginx could not read either; the message names it, with its line."""


@dataclass(frozen=True)
class Directive:
    """A directive with its arguments, its block if it has one, and where it is."""

    name: str
    args: tuple[str, ...]
    block: tuple[Directive, ...] | None
    file: str
    line: int

    @property
    def where(self) -> str:
        """Return ``file:line``, as nginx writes it in its messages."""
        return f"{self.file}:{self.line}"

    def __str__(self) -> str:
        """Return the directive without its block, as a person would write it."""
        return " ".join((self.name, *self.args))


class Token(NamedTuple):
    """A word, or one of ``;``, ``{`` and ``}`` if `mark`, with its line and end in the text."""

    text: str
    line: int
    end: int
    mark: bool


def tokens(text: str, start: int = 0, line: int = 1) -> Iterator[Token]:
    """Yield the tokens of the text from `start` on, which is in `line`, without comments."""
    position = start
    while position < len(text):
        character = text[position]
        if character in SPACES:
            line += character == "\n"
            position += 1
        elif character == "#":
            position = _end_of_line(text, position)
        elif character in ";{}":
            position += 1
            yield Token(character, line, position, mark=True)
        else:
            first = line
            read = _quoted if character in "\"'" else _bare
            raw, end = read(text, position)
            line += text.count("\n", position, end)
            position = end
            yield Token(_unescaped(raw), first, position, mark=False)


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _quoted(text: str, start: int) -> tuple[str, int]:
    """Return what is between the quotation marks, and where the second of them ends."""
    position = start + 1
    while position < len(text) and text[position] != text[start]:
        position += 2 if text[position] == "\\" else 1
    return text[start + 1 : position], min(position + 1, len(text))


def _bare(text: str, start: int) -> tuple[str, int]:
    """Return a word without quotation marks; ``${`` does not begin a block, nor ``}`` end one."""
    position = start
    while position < len(text) and text[position] not in f"{SPACES};":
        if text[position] == "{" and text[position - 1] != "$":
            break
        position += 2 if text[position] == "\\" else 1
    position = min(position, len(text))
    return text[start:position], position


def _unescaped(raw: str) -> str:
    if "\\" not in raw:
        return raw
    result, position = "", 0
    while position < len(raw):
        pair = raw[position : position + 2]
        if pair[0] == "\\" and len(pair) > 1:
            result += ESCAPES.get(pair[1], pair)
            position += 2
        else:
            result += pair[0]
            position += 1
    return result


def parse(text: str, file: str = "") -> tuple[Directive, ...]:
    """Return the directives of a file; an `include` is one like all others.

    Raises:
        ConfigurationError: A block or a directive does not end, or one ends that did not begin.
    """
    blocks: list[list[Directive]] = [[]]
    heads: list[list[Token]] = []
    words: list[Token] = []
    position, line = 0, 1
    while True:
        for token in tokens(text, position, line):
            if not token.mark:
                words.append(token)
                continue
            if token.text == "}":
                if words or not heads:
                    raise ConfigurationError(f'unexpected "}}" in {file}:{token.line}')
                head, block = heads.pop(), tuple(blocks.pop())
                blocks[-1].append(_directive(head, block, file))
                continue
            if not words:
                raise ConfigurationError(f'unexpected "{token.text}" in {file}:{token.line}')
            if token.text == ";":
                blocks[-1].append(_directive(words, None, file))
            elif words[0].text.endswith(RAW_BLOCK):
                blocks[-1].append(_directive(words, (), file))
                position = _end_of_lua(text, token.end)
                line = token.line + text.count("\n", token.end, position)
                words = []
                break  # go on behind the Lua code
            else:
                heads.append(words)
                blocks.append([])
            words = []
        else:
            break
    if words or heads:
        last = (words or heads[-1])[0]
        raise ConfigurationError(f'"{last.text}" does not end in {file}:{last.line}')
    return tuple(blocks[0])


def _directive(words: list[Token], block: tuple[Directive, ...] | None, file: str) -> Directive:
    name, *args = (word.text for word in words)
    return Directive(name, tuple(args), block, file, words[0].line)


def _end_of_lua(text: str, start: int) -> int:
    """Return where the brace is closed that was opened just before `start`, in Lua's own syntax."""
    depth, position = 1, start
    while position < len(text):
        character = text[position]
        if character in "\"'":
            position = _quoted(text, position)[1]
            continue
        if text.startswith("--[[", position) or text.startswith("[[", position):
            end = text.find("]]", position)
            position = len(text) if end < 0 else end + 2
            continue
        if text.startswith("--", position):
            position = _end_of_line(text, position)
            continue
        depth += {"{": 1, "}": -1}.get(character, 0)
        position += 1
        if depth == 0:
            return position
    return position
