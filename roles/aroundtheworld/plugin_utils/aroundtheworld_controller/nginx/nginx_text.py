"""Directives for nginx in a text of an operator's: whether they stay in the block where they are.

Words, quotes and comments end where nginx lets them end (ngx_conf_read_token). What a directive
means only nginx knows, which tries the whole configuration on the host.
"""

from __future__ import annotations

import re

TOKEN = re.compile(
    r"""
    (?P<blank> \s+ | \#[^\n]* )
    | (?P<quoted> "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' )
    | (?P<sign> [;{}] )
    | (?P<word> (?!["']) (?: \\. | \$\{ | [^\s;{\\] )+ )
    """,
    re.VERBOSE | re.DOTALL,
)


def block_problem(text: str) -> str:
    """Return what keeps directives from being a part of a block, or an empty text."""
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text):
        return "it has a control character"
    position = depth = words = 0
    while position < len(text):
        token = TOKEN.match(text, position)
        if token is None:
            sign = text[position]
            return "it ends with a backslash" if sign == "\\" else f"a {sign} has no end"
        position = token.end()
        if token["quoted"] and re.match(r"[^\s;{)]", text[position:]):
            return "a quotation goes on without a space"
        if token["quoted"] or token["word"]:
            words += 1
        elif token["sign"] == "}":
            if words:
                return "a directive has no ';' before a '}'"
            if not depth:
                return "a '}' closes the site's own server block"
            depth -= 1
        elif token["sign"]:
            if not words:
                return f"a '{token['sign']}' has no directive before it"
            depth += token["sign"] == "{"
            words = 0
    if words:
        return "the last directive has no ';'"
    return "a '{' has no '}'" if depth else ""


def quoted(text: str) -> str:
    """Return a text without ``$`` as nginx takes it for one argument."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
