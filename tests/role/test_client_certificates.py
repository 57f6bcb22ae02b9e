"""A pool's CA that nginx could not ask for, or would ask everybody for, is refused."""

import pytest

from tests import certificates
from tests.role.refusals import pools, problems_with

CA = certificates.root().pem
BRANCH = certificates.Issuer("Branch", by=certificates.root())
NAMES = {
    "aroundtheworld_server_names": ["shop.example", "office.example"],
    "aroundtheworld_tls": "acme",
}
OWN = {"server_names": ["office.example"]}


def problems(admin, **variables):
    return problems_with(pools(admin=OWN | admin) | NAMES | variables)


@pytest.mark.parametrize(
    ("admin", "expected"),
    [
        ({"client_ca": "office"}, "it is no certificate as PEM; give the CA's, as in"),
        ({"client_ca": certificates.root().issue("a.example")[1]}, "it is no certificate as PEM"),
        ({"client_ca": CA.replace("\n", " ")}, "its lines are joined or indented, so nginx cannot"),
        ({"client_ca": CA, "server_names": []}, "pool 'admin' needs server_names or http_port of"),
        (
            {"client_ca": certificates.Issuer("Old", days=(-9, -1)).pem},
            "the certificate of 'CN=Old' has expired on ",
        ),
        (
            {"client_ca": BRANCH.pem},
            "'CN=Root of the tests' has issued the certificate of 'CN=Branch', and nginx takes",
        ),
    ],
)
def test_a_mistake_is_named(admin, expected):
    (problem,) = problems(admin)
    assert problem.startswith(f"aroundtheworld_pools[1].client_ca: {expected}")
