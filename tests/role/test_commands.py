"""One rule for every command: a shell's words without a shell, whatever systemd makes of them."""

import random
import re
import subprocess

import pytest

from aroundtheworld_controller.commands import (
    BadCommandError,
    command_problem,
    manager_words,
    split,
    unit_text,
)
from tests.render import render, variables_for

FINE = {
    "python -m shop migrate": ["python", "-m", "shop", "migrate"],
    "  gunicorn   shop:app\t-w 2 ": ["gunicorn", "shop:app", "-w", "2"],
    "gunicorn shop:create_app()": ["gunicorn", "shop:create_app()"],
    "sh -c 'a && b | c; echo \"$X\" `d` >e'": ["sh", "-c", 'a && b | c; echo "$X" `d` >e'],
    'say "two words" \\"x\\"': ["say", "two words", '"x"'],
    "say it\\'s 'it'\\''s'": ["say", "it's", "it's"],
    'say "a\\b" "a\\\\b" "a\\$b" a\\b': ["say", "a\\b", "a\\b", "a$b", "ab"],
    "say '' \"\"": ["say", "", ""],
    "LANG=C.UTF-8 X='a b' python -m shop": ["LANG=C.UTF-8", "X=a b", "python", "-m", "shop"],
    "say 100% %h a=b;c a&b x>5 ';' '|' \\; \\&": [
        "say", "100%", "%h", "a=b;c", "a&b", "x>5", ";", "|", ";", "&",
    ],
    "say $ a$ '$HOME' '${HOME}' \\$HOME": ["say", "$", "a$", "$HOME", "${HOME}", "$HOME"],
    "say '$$' $. \"$\"": ["say", "$$", "$.", "$"],
    "say caf\u00e9 * ~ #x": ["say", "caf\u00e9", "*", "~", "#x"],
}  # fmt: skip

REFUSED = {
    "a ; b": "';', which means something to a shell",
    "a; b": "'a;', which means something to a shell",
    "a && b": "'&&', which means",
    "a || b": "'||', which means",
    "a | b": "'|', which means",
    "a &": "'&', which means",
    "a > b": "'>', which means",
    "a >b": "'>b', which means",
    "a 2>&1": "'2>&1', which means",
    "a <b": "'<b', which means",
    "a $(b)": "'$(' outside of single quotes",
    "a ${B:-c}": "'${' outside of single quotes",
    'a "$(b)"': "'$(' outside",
    "a $$": "'$$' outside",
    "a $1": "'$1' outside",
    "a `b`": "'`' outside of single quotes",
    "a ${port}": "a worker's own port is {port}",
    "a x$address": "a worker's own address is {address}",
    "a 'b": "a ' opens a quotation that nothing closes",
    'a "b': 'a " opens a quotation that nothing closes',
    "a 'b\"": "a ' opens a quotation",
    "a \\": "it ends with a backslash",
    "a\nb": "one line, without control characters",
    "a\r": "one line, without control characters",
    "a\x1b": "one line, without control characters",
    "  ": "it must name a program",
    "'' a": "it must name a program",
    "-i a": "begin with a program, and not with the option -i",
    "A=b": "it sets variables, but names no program",
}


@pytest.mark.parametrize(("command", "words"), FINE.items())
def test_a_command_is_split_as_a_shell_splits_it(command, words):
    assert meant(command) == words
    assert list(command_problem(command, "x")) == []


@pytest.mark.parametrize(("command", "why"), REFUSED.items())
def test_what_is_more_than_a_command_is_refused_by_the_variables_name(command, why):
    (problem,) = command_problem(command, "aroundtheworld_migrate_command")
    assert problem.startswith(f"aroundtheworld_migrate_command: {command!r} is not allowed; ")
    assert why in problem


def random_commands(count):
    """Yields texts that a shell might read as commands, the same in every run."""
    chance = random.Random(14)
    signs = "ab '\"\\ $%;&|<>`=(){}/é\t"
    for _ in range(count):
        yield "x" + "".join(chance.choice(signs) for _ in range(chance.randrange(1, 12)))


VALUES = {"a": "A B", "b": "", "HOME": "/srv/a b"}


def expanded(word):
    """Returns a word after specifiers and variables; no other sign of either may be in it."""
    assert "%" not in word.replace("%%", ""), word
    word = word.replace("%%", "%")
    assert "$" not in re.sub(r"\$\$|\$\{\w+\}", "", word), word
    return re.sub(
        r"\$(\$|\{(\w+)\})",
        lambda found: VALUES.get(found[2], "") if found[2] else "$",
        word,
    )


def meant(command):
    """Returns the words of a command with the values of its variables."""
    return [expanded(word.replace("%", "%%")) for word in split(command)]


def allowed(count):
    """Yields random commands with their words, but none with variables that are to be split."""
    for command in random_commands(count):
        try:
            words = split(command)
        except BadCommandError:
            continue
        if not any(re.fullmatch(r"\$\w+", word) for word in words):
            yield command, meant(command)


def test_a_shell_sees_the_same_words():
    """What is taken literally here although a shell would act on it is left out."""
    taken = []
    for command, words in allowed(4000):
        without_quotes = re.sub(r"\\.|'[^']*'|\"(\\.|[^\"\\])*\"", "", command)
        # A shell splits a variable's value also within a word.
        if not re.search(r"[;&|<>(){}=$]", without_quotes):
            taken.append((command, words))
    assert len(taken) > 200
    lines = [f"printf '%s\\0' {command}; printf '\\n\\0'\n" for command, _ in taken]
    script = "".join(["a='A B' b='' HOME='/srv/a b'\n", *lines])
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    seen = [text.split("\0")[:-1] for text in done.stdout.split("\n\0")[:-1]]
    assert seen == [words for _, words in taken]


def systemds_words(text):
    """Returns the words that systemd makes of a command line, by systemd.service(5)."""
    words, word, quote, signs = [], None, "", iter(text)
    for sign in signs:
        if not quote and sign in " \t":
            if word is not None:
                words.append(word)
            word = None
        elif sign == quote:
            quote = ""
        elif not quote and sign in "'\"":
            quote, word = sign, word or ""
        elif sign == "\\":
            escapes = {"t": "\t", "s": " ", "\\": "\\", '"': '"', "'": "'"}
            word = (word or "") + escapes[next(signs)]
        else:
            word = (word or "") + sign
    assert not quote
    if word is not None:
        words.append(word)
    assert ";" not in text.split(), "systemd would begin another command"
    return [expanded(word) for word in words]


def test_systemd_makes_the_same_words_of_a_unit():
    commands = [*FINE.items(), *allowed(4000)]
    assert len(commands) > 500
    for command, words in commands:
        assert systemds_words(unit_text(command)) == words


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("say ${a} $a", ["say", "${a}", "$a"]),
        ('say "$a" "${a}" x$a x${a}y $a$a', ["say", *["${a}"] * 2, "x${a}", "x${a}y", "${a}${a}"]),
        ("say $a-$b", ["say", "${a}-${b}"]),
        ("X=$a say", ["X=${a}", "say"]),
    ],
)
def test_a_variable_is_left_to_systemd_and_split_only_where_it_is_a_word(command, words):
    assert split(command) == words
    assert unit_text(command).split(" ") == words


def test_what_needs_no_quotes_stays_as_it_was_written():
    command = "gunicorn --threads 4 --bind {address}:{port} guestbook.desk:app"
    assert unit_text(command) == command


def test_systemd_run_gets_the_words_with_nothing_to_put_in():
    assert manager_words("sh -c 'echo \"$HOME\" 5%'") == ["sh", "-c", 'echo "$$HOME" 5%']
    assert manager_words("") == []
    assert unit_text("") == ""


def exec_lines(changes, unit):
    text = render("units.j2", variables_for(changes))
    part = text.partition(f"{unit}\n")[2].partition("\n# /etc/systemd")[0]
    return [line[10:] for line in part.splitlines() if line.startswith("ExecStart=")]


ODD = 'python -c \'import sys; print("$HOME", "100%")\' {port}'


def test_every_unit_has_its_command_by_this_rule():
    changes = {
        "aroundtheworld_migrate_command": ODD,
        "aroundtheworld_pools": [
            {"name": "public", "ports": [10001], "paths": ["/"], "command": ODD, "binds": True}
        ],
    }
    words = meant(ODD)
    (worker,) = exec_lines(changes, "aroundtheworld@10001.service.d/pool.conf")
    filled = [word.replace("{port}", "10001") for word in words]
    assert systemds_words(worker) == ["/usr/bin/env", *filled]
    (migrate,) = exec_lines(changes, "aroundtheworld-migrate.service")
    # Between env and the command, the variables that a migration has for locks.
    program, _, _, *command = systemds_words(migrate)
    assert [program, *command] == ["/usr/bin/env", *words]
    (trial,) = exec_lines(changes, "aroundtheworld-trial.service")
    assert systemds_words(trial.partition(" -- ")[2]) == ["/usr/bin/env", *words]
