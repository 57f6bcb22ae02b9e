"""The rule for every command that an operator sets: for pools, migrations and their check.

A command is one program with its arguments, split as a shell splits them: at spaces, with quotes
and backslashes. ``${NAME}`` outside of single quotes is a variable of the app's environment, as one
word; ``$NAME`` as a word of its own is split at the spaces in it. There is no shell, so what only a
shell understands is refused instead of being handed to the program as it stands: pipes,
redirections, several commands. If you want them, write ``sh -c '…'``; what is in single quotes goes
there untouched. In a pool's command that binds its port, ``{port}`` and ``{address}`` stand for the
worker's own.

systemd puts the variables in, when it starts the program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

OPERATORS = ";|&<>"
NAME = r"[A-Za-z_][A-Za-z0-9_]*"
VARIABLE = re.compile(rf"\$(?:\{{(?P<braced>{NAME})\}}|(?P<bare>{NAME}))")
# What else a shell would replace; a dollar sign with anything else behind it means itself.
EXPANSION = re.compile(r"\$[0-9{(@*#?!$-]|`")
ASSIGNMENT = re.compile(r"[^=]+=")  # as env(1), which starts every command, sees it
# What systemd takes as it stands in a unit, but for the percent signs (systemd.service(5)).
PLAIN = re.compile(r"[A-Za-z0-9_@:,./=+%{}$-]+")
INSTEAD = "there is no shell; write sh -c '…', or put it in single quotes to mean it literally"


class BadCommandError(ValueError):
    """The command cannot be run; the message says why, for after "… is not allowed; "."""


def split(command: str) -> list[str]:
    """Return the words of a command, of which the first is the program or sets a variable.

    They are as systemd's manager takes them, from ``systemd-run`` for example: ``${NAME}`` or
    ``$NAME`` for a variable, ``$$`` for a dollar sign.

    Raises:
        BadCommandError: It is no single command.
    """
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", command):
        raise BadCommandError("it must be one line, without control characters")
    words = list(_words(command))
    if not words or not words[0]:
        raise BadCommandError("it must name a program, as in 'python -m shop migrate'")
    if words[0].startswith("-"):
        raise BadCommandError(f"it must begin with a program, and not with the option {words[0]}")
    if all(ASSIGNMENT.match(word) for word in words):
        raise BadCommandError("it sets variables, but names no program that would get them")
    return words


def _words(command: str) -> Iterator[str]:
    """Yield the words as POSIX's shell would see them, refusing what it would do beyond that."""
    word: list[str] | None = None  # what it consists of: characters and variables
    bare: list[bool] = []  # for each of them, whether it stands outside of quotes
    quote, position = "", 0
    while position < len(command):
        sign = command[position]
        variable = VARIABLE.match(command, position) if quote != "'" else None
        if variable:
            name = variable["braced"] or variable["bare"]
            if name in ("port", "address"):
                raise BadCommandError(f"it has {variable[0]}; a worker's own {name} is {{{name}}}")
            word = word or []
            word.append(variable[0] if quote or variable["braced"] else f"${name}")
            bare.append(not quote)
            position = variable.end()
            continue
        if quote != "'" and (expansion := EXPANSION.match(command, position)):
            raise BadCommandError(
                f"it has {expansion[0]!r} outside of single quotes, and {INSTEAD}"
            )
        position += 1
        if not quote and sign in " \t":
            if word is not None:
                yield _joined(word, bare)
            word, bare = None, []
            continue
        word = [] if word is None else word
        if sign == quote:
            quote = ""
        elif not quote and sign in "'\"":
            quote = sign
        elif sign == "\\" and quote != "'":
            if position == len(command):
                raise BadCommandError("it ends with a backslash")
            # Within double quotes a backslash stands for itself before most signs.
            if quote and command[position] not in '"\\$`':
                word.append(sign)
                bare.append(False)
            word.append(command[position].replace("$", "$$"))
            bare.append(False)
            position += 1
        else:
            word.append(sign.replace("$", "$$"))
            bare.append(not quote)
    if quote:
        raise BadCommandError(f"a {quote} opens a quotation that nothing closes")
    if word is not None:
        yield _joined(word, bare)


def _joined(word: Sequence[str], bare: Sequence[bool]) -> str:
    """Return a word as a text, unless it is, or carries, an operator of a shell."""
    digits = 0  # as in 2>errors
    while digits < len(word) - 1 and word[digits].isdigit():
        digits += 1
    for index in (0, digits, -1):
        if word and bare[index] and word[index] in OPERATORS:
            text = "".join(word)
            raise BadCommandError(f"it has {text!r}, which means something to a shell; {INSTEAD}")
    if len(word) == 1:
        return word[0] if bare[0] else _braced(word[0])
    return "".join(map(_braced, word))


def _braced(part: str) -> str:
    """Return a part of a word that may have others beside it: only a variable alone is split."""
    return f"${{{part[1:]}}}" if VARIABLE.fullmatch(part) and part[1] != "{" else part


def command_problem(command: str, name: str) -> Iterator[str]:
    """Yield what is wrong with the command in the variable `name`; an empty command is right."""
    if command:
        try:
            split(command)
        except BadCommandError as bad:
            yield f"{name}: {command!r} is not allowed; {bad}."


def unit_text(command: str) -> str:
    """Return a command as it stands behind ``ExecStart=/usr/bin/env``, for systemd to split."""
    return " ".join(map(_for_systemd, manager_words(command)))


def _for_systemd(word: str) -> str:
    if not PLAIN.fullmatch(word):
        word = '"' + re.sub(r'(["\\])', r"\\\1", word).replace("\t", "\\t") + '"'
    return word.replace("%", "%%")


def manager_words(command: str) -> list[str]:
    """Return a command as ``systemd-run`` takes it, no words for an empty command."""
    return split(command) if command else []
