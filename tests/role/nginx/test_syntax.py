"""The role reads nginx's configuration as nginx itself does."""

import shutil
import subprocess

import pytest
from ansible.module_utils.aroundtheworld.nginx.syntax import ConfigurationError, parse

from tests.matrix import chosen
from tests.render import MODELS, render, variables_for
from tests.role.nginx.process import NGINX, needs_nginx
from tests.role.rendered import parse_nginx


def words(text):
    return [(directive.name, *directive.args) for directive in parse(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user www-data;", [("user", "www-data")]),
        ("a b;c d;", [("a", "b"), ("c", "d")]),
        ("a\tb\r\n c\n;", [("a", "b", "c")]),
        ("# a b;\na; # b;\n#", [("a",)]),
        ("a b#c;", [("a", "b#c")]),
        ("a 'b;{}#' \"c d\";", [("a", "b;{}#", "c d")]),
        (r"a 'it\'s' " r'"\"x\"" \\ ' + r"\d\.\;;", [("a", "it's", '"x"', "\\", r"\d\.\;")]),
        (r"a 'b\nc\td\re';", [("a", "b\nc\td\re")]),
        ("a b'c d\"e;", [("a", "b'c", 'd"e')]),
        ("a ${b}c$d;", [("a", "${b}c$d")]),
        ("a b};", [("a", "b}")]),
        ("a '';", [("a", "")]),
        ("a 'b\nc';", [("a", "b\nc")]),
        ("", []),
        ("location{}", [("location",)]),
        ('if ($x ~ "^a{2}$") { return 403; }', [("if", "($x", "~", "^a{2}$", ")")]),
    ],
)
def test_a_file_is_read_as_nginx_reads_it(text, expected):
    assert words(text) == expected


def test_blocks_are_nested_and_every_directive_knows_where_it_is():
    (http,) = parse('http {\n  # {\n  server {\n    listen "80";\n  }\n}\n', "/etc/nginx/x")
    ((server),) = http.block
    (listen,) = server.block
    assert (listen.name, listen.args, listen.block) == ("listen", ("80",), None)
    assert [directive.where for directive in (http, server, listen)] == [
        "/etc/nginx/x:1",
        "/etc/nginx/x:3",
        "/etc/nginx/x:4",
    ]
    assert str(listen) == "listen 80"


def test_lines_are_counted_behind_words_and_comments_of_several_lines():
    first, second = parse("log_format a 'b\n c\n' # \n;\nuser x;\n")
    assert (first.line, second.line) == (1, 5)


def test_lua_code_is_passed_over():
    text = """
    content_by_lua_block {
        local a = { "}" , '{' } -- }
        --[[ } ]] local b = [[ } ]]
    }
    listen 80;
    """
    code, listen = parse(text)
    assert code.name == "content_by_lua_block"
    assert (listen.args, listen.line) == (("80",), 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http {", '"http" does not end in f:1'),
        ("a b", '"a" does not end in f:1'),
        ("a 'b;", '"a" does not end in f:1'),
        ("}", 'unexpected "}" in f:1'),
        ("http { a }", 'unexpected "}" in f:1'),
        ("\n;", 'unexpected ";" in f:2'),
        ("{ }", 'unexpected "{" in f:1'),
        ("a \\", '"a" does not end in f:1'),
    ],
)
def test_what_nginx_refuses_is_refused(text, message):
    with pytest.raises(ConfigurationError, match=r"does not end|unexpected") as refused:
        parse(text, "f")
    assert str(refused.value) == message


def ours(directive):
    """Return line, name, arguments and block of a directive as the role's reader has it."""
    args = list(directive.args)
    if directive.name == "if":  # crossplane takes the condition out of its parentheses
        args = " ".join(args)[1:-1].split()
    return directive.line, directive.name, args, [ours(inner) for inner in directive.block or ()]


def theirs(directive):
    """Return the same as crossplane has it, but for \\n, which that leaves as it is written."""
    args = [argument.replace("\\n", "\n") for argument in directive["args"]]
    block = [theirs(inner) for inner in directive.get("block", ())]
    return directive["line"], directive["directive"], args, block


@pytest.mark.parametrize("model", chosen(list(MODELS)))
def test_another_reader_finds_the_same_in_the_sites_own_configuration(model):
    text = render("site.conf.j2", variables_for(MODELS[model]))
    found = [theirs(each) for each in parse_nginx(text).directives]
    assert [ours(each) for each in parse(text)] == found


# Each makes two words, of which the second is what nginx then calls its user.
USERS = ["a'b", "'a b'", '"a\\"b"', r"a\b", r"a\\b", "a#b", "${a}", "a}b", "'a;{b'", r"'a\tb'"]


@needs_nginx
@pytest.mark.parametrize("word", USERS)
def test_a_word_means_to_nginx_what_it_means_here(tmp_path, word):
    """nginx names a user that does not exist, in quotation marks and as it was read."""
    main = tmp_path / "nginx.conf"
    main.write_text(f"user {word};\nevents {{}}\n")
    done = subprocess.run(
        [NGINX, "-t", "-q", "-p", tmp_path, "-e", tmp_path / "error.log", "-c", main],
        capture_output=True,
        text=True,
        check=False,
    )
    (user,) = words(f"user {word};")
    assert f'getpwnam("{user[1]}") failed' in done.stderr, shutil.which("nginx")
