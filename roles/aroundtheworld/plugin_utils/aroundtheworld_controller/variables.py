"""The role's variables: their specification, and what of a value does not fit it.

Ansible's own functions convert each value, as they do for a module's options. Its validator of a
whole specification is not used: it takes more for valid than a person can mean (a list as a text,
`True` as a port), does not say in which pool a problem is, and crashes on ``hooks: true``.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.common.validation import (
    check_type_bool,
    check_type_float,
    check_type_int,
    check_type_str,
)
from ansible.module_utils.common.yaml import yaml_load

from aroundtheworld_controller.addresses import shown

ROLE = Path(__file__).resolve().parents[2]
PREFIX = "aroundtheworld_"
# Also where it is in a value that has no place for one, as in that of a variable for a path.
PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)


class Type(NamedTuple):
    """What a type of meta/argument_specs.yml takes a value from, how, and how people call it."""

    accepted: tuple[type, ...]
    converter: Callable[[Any], Any]
    words: str


# ``-e aroundtheworld_http_port=8080`` gives a text, and YAML gives a number for ``1048576``.
TYPES = {
    "raw": Type((str, int, list, tuple), lambda value: _listed(value), "a text or a list of them"),
    "str": Type((str, int), check_type_str, "a text"),
    "path": Type((str,), check_type_str, "a path"),
    "int": Type((int, str), check_type_int, "a whole number"),
    "float": Type((int, float, str), check_type_float, "a number"),
    "bool": Type((bool, str), check_type_bool, "true or false"),
    "list": Type((list, tuple), list, "a list"),
    "dict": Type((dict,), dict, "a mapping"),
}


def _listed(value: object) -> list[Any]:
    """Return a list as it is, and anything else as a list of one."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


class BadInputError(Exception):
    """Problems that a person can mend, each a sentence."""

    def __init__(self, *problems: str) -> None:
        """Keep `problems` in the order in which they were found, without a key that is in them."""
        self.problems = [PRIVATE_KEY.sub("(a private key)", problem) for problem in problems]
        super().__init__("\n".join(self.problems))


def refuse(problems: Iterable[str]) -> None:
    """Raise `BadInputError` with all `problems`, if there are any."""
    if found := list(problems):
        raise BadInputError(*found)


@functools.cache
def load_options() -> dict[str, Any]:
    """Return the options of ``meta/argument_specs.yml``: variable name to its specification."""
    options: dict[str, Any]
    options = _read("argument_specs.yml")["argument_specs"]["variables"]["options"]
    return options


@functools.cache
def load_pool_settings() -> dict[str, Any]:
    """Return what a pool may set, by ``meta/pool_settings.yml``."""
    return _read("pool_settings.yml")


@functools.cache
def load_renamed() -> dict[str, dict[str, str]]:
    """Return what has another name than before, by ``meta/renamed.yml``."""
    return _read("renamed.yml")


def _read(name: str) -> dict[str, Any]:
    """Return the content of a file in ``meta``, by libyaml where the controller has it."""
    content: dict[str, Any] = yaml_load((ROLE / "meta" / name).read_text())
    return content


def plain(value: object) -> Any:  # noqa: ANN401 - whatever YAML can hold
    """Return `value` without Ansible's own subclasses of what YAML can hold."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return value


def checked(name: str, value: object) -> Any:  # noqa: ANN401 - whatever its specification says
    """Return the value of a variable as its type; raises `BadInputError` when it does not fit."""
    problems: list[str] = []
    value = convert(plain(value), load_options()[name], name, problems)
    refuse(problems)
    return value


def convert(value: object, option: Mapping[str, Any], name: str, problems: list[str]) -> Any:  # noqa: ANN401
    """Return `value` as the type of its specification, and add to `problems` what does not fit.

    Looks into lists and mappings. A value that does not fit is returned as it is.
    """
    accepted, converter, words = TYPES[option["type"]]
    choices = ", ".join(map(str, option.get("choices", ())))
    try:
        if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
            raise TypeError
        result = converter(value)
    except (TypeError, ValueError, ArithmeticError):
        secret = f"a value of type {type(value).__name__}"
        text = secret if option.get("no_log") else shown(repr(value))
        # YAML makes a boolean of a bare "off" and of its like.
        fits = f"allowed: {choices}" if choices else f"it must be {words}"
        problems.append(f"{name}: {text} is not allowed; {fits}.")
        return value
    if choices and result not in option["choices"]:
        problems.append(f"{name}: {result!r} is not allowed; allowed: {choices}.")
    if isinstance(result, list):
        element = {**option, "type": option["elements"]}
        return [
            convert(item, element, f"{name}[{index}]", problems)
            for index, item in enumerate(result)
        ]
    if isinstance(result, dict) and "options" in option:
        return convert_all(result, option["options"], f"{name}.", problems)
    return result


def convert_all(
    values: Mapping[str, Any], options: Mapping[str, Any], where: str, problems: list[str]
) -> dict[str, Any]:
    """Return all `values` as the types of their specifications, as `convert` does for one.

    Args:
        values: The keys of a mapping, or all variables.
        options: Their specifications.
        where: What stands before a key in a message; empty for variables.
        problems: Where to add what does not fit: also what is missing, and names that do not exist.
    """
    problems += unknown_names(values, list(options), where)
    result = dict(values)
    for key, option in options.items():
        if key in values:
            result[key] = convert(values[key], option, where + key, problems)
        elif option.get("required"):
            problems.append(f"{where}{key}: is missing; it must be {TYPES[option['type']].words}.")
    return result


def unknown_names(names: Iterable[str], allowed: Sequence[str], where: str) -> Iterator[str]:
    """Yield a problem for each name that is not allowed, with its new one or the nearest."""
    for name in names:
        if name in allowed:
            continue
        if renamed := load_renamed().get(re.sub(r"\[\d+\]", "", f"{where}{name}")):
            yield (
                f"{where}{name}: has another name since version {renamed['since']} of the role; "
                f"write {renamed['name']} instead."
            )
        else:
            near = difflib.get_close_matches(str(name), allowed, n=1)
            hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(sorted(allowed))}."
            yield f"{where}{name}: there is no such {'setting' if where else 'variable'}; {hint}"
