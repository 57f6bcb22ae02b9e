"""The role's variables: their specification, and values that do not fit it."""

from __future__ import annotations

import contextlib
import difflib
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.parsing.convert_bool import boolean

from aroundtheworld_controller.addresses import shown

ROLE = Path(__file__).resolve().parents[2]
PREFIX = "aroundtheworld_"
# What the types of meta/argument_specs.yml accept, and how a person would say it.
TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a text"),
    "path": ((str,), "a path"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "list": ((list, tuple), "a list"),
    "dict": ((dict,), "a mapping"),
}


class BadInputError(Exception):
    """Problems that a person can mend, each a sentence."""

    def __init__(self, *problems: str) -> None:
        """Keep `problems` in the order in which they were found."""
        super().__init__("\n".join(problems))
        self.problems = list(problems)


@functools.cache
def load_spec() -> dict[str, Any]:
    """Return the options of ``meta/argument_specs.yml``: variable name to its specification."""
    text = (ROLE / "meta" / "argument_specs.yml").read_text()
    options: dict[str, Any] = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    return options


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


def converted(value: object, spec: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return `value` with the type of its specification, where it plainly is that in other words.

    ``-e aroundtheworld_http_port=8080`` gives a text, and YAML gives a number for ``1048576``. What
    cannot be converted is returned as it is, for `type_problems` to refuse.
    """
    kind = spec["type"]
    if kind == "int" and isinstance(value, str) and re.fullmatch(r"-?[0-9]+", value):
        return int(value)
    if kind == "float" and isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        return float(value)
    if kind == "bool" and isinstance(value, str):
        with contextlib.suppress(TypeError):
            return boolean(value)
    if kind == "str" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if kind == "list" and isinstance(value, list):
        return [converted(item, {**spec, "type": spec["elements"]}) for item in value]
    if kind == "dict" and isinstance(value, dict) and "options" in spec:
        options = spec["options"]
        return {
            key: converted(item, options[key]) if key in options else item
            for key, item in value.items()
        }
    return value


def unknown_keys(given: Mapping[str, Any], allowed: Sequence[str], where: str) -> Iterator[str]:
    """Yield a problem for each key of `given` that is not allowed, with the nearest that is."""
    for key in given:
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, n=1)
            hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(sorted(allowed))}."
            yield f"{where}{key}: there is no such {'setting' if where else 'variable'}; {hint}"


def type_problems(value: object, spec: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield what is wrong with `value` by its specification, looking into lists and mappings."""
    accepted, words = TYPES[spec["type"]]
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
        hidden = spec.get("no_log")
        text = f"a value of type {type(value).__name__}" if hidden else shown(repr(value))
        yield f"{name}: {text} is not allowed; it must be {words}."
        return
    if "choices" in spec and value not in spec["choices"]:
        yield f"{name}: {value!r} is not allowed; allowed: {', '.join(map(str, spec['choices']))}."
    if isinstance(value, (list, tuple)):
        element = {**spec, "type": spec["elements"]}
        for index, item in enumerate(value):
            yield from type_problems(item, element, f"{name}[{index}]")
    elif isinstance(value, dict) and "options" in spec:
        options = spec["options"]
        yield from unknown_keys(value, list(options), f"{name}.")
        for key, option in options.items():
            if key in value:
                yield from type_problems(value[key], option, f"{name}.{key}")
            elif option.get("required"):
                yield f"{name}.{key}: is missing; it must be {TYPES[option['type']][1]}."
