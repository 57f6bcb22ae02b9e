"""The guests who use the game while a report runs: what they send depends on earlier responses."""

import itertools
import json

import pytest

from bench import during_report
from bench.open_loop import Result


class Visitor:
    """Takes the place of the client that plays a round beforehand."""

    def __init__(self, *_):
        self.connection, self.cookies = self, {"session": "1", "_xsrf": "2"}

    def play(self):
        return 1

    def begin(self):
        return "/quiz/2"

    def fly(self):
        pass

    def close(self):
        pass


@pytest.fixture
def guest(monkeypatch):
    monkeypatch.setattr(during_report, "Visitor", Visitor)
    return during_report.Guest("127.0.0.1", 80)


def response(request, number, answered):
    body = json.dumps({"id": number, "answered": answered * [{}]}).encode()
    return Result(request, 0.0, 0.0, "201", body=body)


def test_pages_and_answers_take_turns(guest):
    kinds = [request.kind for request in itertools.islice(guest.requests(), 6)]
    assert kinds == 3 * ["reads", "writes"]


def test_a_question_is_answered_when_the_response_before_is_there(guest):
    writes = (request for request in guest.requests() if request.kind == "writes")
    first, second = next(writes), next(writes)
    assert (first.path, second.path) == ("/api/rounds", "/api/rounds")
    guest.note(response(first, 7, 0))
    answer = next(writes)
    assert answer.path == "/api/rounds/7/answers"
    assert json.loads(answer.body)["position"] == 0
    assert next(writes).path == "/api/rounds"
    guest.note(response(answer, 7, 1))
    assert json.loads(next(writes).body)["position"] == 1
    guest.note(response(answer, 7, during_report.QUESTIONS))
    assert next(writes).path == "/api/rounds"


def test_an_error_is_no_measurement(guest):
    request = next(guest.requests())
    with pytest.raises(RuntimeError, match="503"):
        guest.note(Result(request, 0.0, 0.0, "503"))
    with pytest.raises(RuntimeError, match="ConnectionResetError"):
        guest.note(Result(request, 0.0, 0.0, "ConnectionResetError"))
