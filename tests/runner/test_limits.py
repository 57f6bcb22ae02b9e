"""What an application sets for the connection holds in the runner, too."""

import harness
import pytest

CHUNK = b"x" * 500


def status_of(client, chunks):
    """Send a body in chunks, which does not say how long it will be."""
    client.request("POST", "/limited", iter([CHUNK] * chunks), encode_chunked=True)
    response = client.getresponse()
    response.read()
    return response.status


@pytest.mark.parametrize(("chunks", "status"), [(2, 200), (3, 400)])
def test_an_application_can_limit_a_body_in_chunks(start, listening, chunks, status):
    start().ready()
    with harness.client(listening) as client:
        assert status_of(client, chunks) == status
    # The limit is for that request alone.
    with harness.client(listening) as client:
        assert harness.get(client)["pid"]


def test_headers_that_nginx_passes_on_reach_the_application(start, listening):
    start().ready()
    with harness.client(listening) as client:
        client.request("GET", "/", headers={f"X-{number}": "x" * 60_000 for number in range(9)})
        response = client.getresponse()
        response.read()
        assert response.status == 200


@pytest.mark.parametrize(("chunks", "status"), [(2, 200), (3, 400)])
def test_the_private_socket_has_the_same_limit(start, chunks, status):
    worker = start().ready()
    with harness.private_client(worker.private_app) as client:
        assert status_of(client, chunks) == status


@pytest.mark.parametrize("private", [False, True])
def test_a_body_that_nginx_passes_on_reaches_the_application(start, listening, private):
    """It announces 1 TB to a handler that has enough after the first."""
    worker = start("early:make_app").ready()
    there = harness.private_client(worker.private_app) if private else harness.client(listening)
    with there as client:
        client.putrequest("POST", "/enough")
        client.putheader("Content-Length", str(10**12))
        client.endheaders()
        client.send(bytes(1_000_001))  # it answers, and closes, when it has all of this
        response = client.getresponse()
        assert (response.status, response.read()) == (200, b"enough")
