"""What people see, in a real browser: every page wide and light, and on a telephone and dark.

Each page is looked at for what axe finds, sideways scrolling, errors in the console, answers that
should not have come, and requests to anywhere else; and a picture of it is kept in
`.cache/screenshots`. A single host is enough.
"""

from __future__ import annotations

import io
import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import PIL.Image
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, expect, sync_playwright

HOSTS = ("debian12",)

CHECKOUT = Path(__file__).resolve().parents[3]
PICTURES = CHECKOUT / ".cache" / "screenshots"
# As root, as which CI runs, Chromium's sandbox does not work; the rest keeps it from calling home.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
LOOKS = {
    "wide": ({"width": 1280, "height": 800}, "light"),
    "telephone": ({"width": 390, "height": 844}, "dark"),
}
PASSWORD = secrets.token_urlsafe()
# Hosts may stay while tests are written, and what a former run made stays with them.
RUN = secrets.token_hex(3)
QUESTION = f"Which answer is right in {RUN}?"
TIMEOUT = 20_000  # milliseconds

# Prints position and right answer of every question of a round. Runs on the host, as the app.
ANSWERS = """
import json, sys
from aroundtheworld.config import database_url
from aroundtheworld.db.engine import Database
print(json.dumps([list(row) for row in Database(database_url()).read(lambda c: c.exec_driver_sql(
    "SELECT position, answer FROM round_questions WHERE round_id = " + sys.argv[1]).all())]))
"""


class Visitor:
    """Somebody with a browser of their own, who notices what is wrong with a page."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        """Open a tab."""
        self.url = url
        self.wrong: list[str] = []
        self.tolerated: set[int] = set()
        self.page = context.new_page()
        self.page.set_default_timeout(TIMEOUT)
        context.on("request", lambda request: self._goes_to(request.url))
        context.on("response", lambda response: self._answered(response.url, response.status))
        self.page.on("websocket", lambda socket: self._goes_to(socket.url))
        self.page.on("console", self._logged)
        self.page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))

    def _goes_to(self, url: str) -> None:
        here = self.url.partition("://")[2]
        if url.partition("://")[2].partition("/")[0] != here and not url.startswith("data:"):
            self.wrong.append(f"request to {url}")

    def _answered(self, url: str, status: int) -> None:
        if status >= 400 and status not in self.tolerated:
            self.wrong.append(f"{status} for {url}")

    def _logged(self, message: ConsoleMessage) -> None:
        # Answers with an error are judged by their status.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.wrong.append(f"console: {message.text}")

    @contextmanager
    def refused(self, status: int) -> Iterator[None]:
        """Expect that what is done meanwhile is answered with this status."""
        self.tolerated = {status}
        with self.page.expect_response(lambda response: response.status == status):
            yield
        self.page.wait_for_load_state()
        self.tolerated = set()

    def open(self, path: str) -> None:
        """Go to an address of the site."""
        self.page.goto(self.url + path)

    def problems(self) -> list[str]:
        """Return what is wrong with the page as it is shown now, and with what led here."""
        found, self.wrong = self.wrong, []
        sideways = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        if pixels := self.page.evaluate(sideways):
            found.append(f"scrolls sideways by {pixels} pixels")
        for violation in Axe().run(self.page).response["violations"]:
            for node in violation["nodes"]:
                found.append(f"axe: {violation['id']}: {node['html']}: {node['failureSummary']}")
        return found

    def look(self, name: str) -> None:
        """Look at the page in every way, and keep pictures of it under this name."""
        for way, (size, scheme) in LOOKS.items():
            self.page.set_viewport_size(size)
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            problems = self.problems()
            self.page.screenshot(path=PICTURES / f"{name}-{way}.png", full_page=True)
            assert problems == [], f"{name}, {way}"

    def press(self, name: str) -> None:
        """Press the button of this name with the mouse."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def follow(self, name: str) -> None:
        """Click the link of this name, in the page itself."""
        self.page.get_by_role("main").get_by_role("link", name=name, exact=True).first.click()

    def title(self, text: str | re.Pattern[str]) -> None:
        """Expect this heading."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(text)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path, "Chromium is missing: scripts/bootstrap hosts installs it"
    shutil.rmtree(PICTURES, ignore_errors=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


def somebody(chromium: Browser, url: str) -> Iterator[Visitor]:
    with chromium.new_context(locale="en") as context:
        visitor = Visitor(context, url)
        yield visitor
        assert visitor.wrong == []


@pytest.fixture
def stranger(chromium, http) -> Iterator[Visitor]:
    """Return a visitor who has not been there before."""
    yield from somebody(chromium, http)


@pytest.fixture
def another(chromium, http) -> Iterator[Visitor]:
    """Return another visitor, who has not been there either."""
    yield from somebody(chromium, http)


@pytest.fixture(scope="module")
def password(host) -> str:
    """Return the password of the administrator grace."""
    password = secrets.token_urlsafe()
    command = "printf '%%s\\n' %s | aroundtheworld-run python -m aroundtheworld create-admin grace"
    host.check_output(command, password)
    return password


@pytest.fixture(scope="module")
def admin(chromium, http, password) -> Iterator[Visitor]:
    """Return an administrator who is logged in."""
    for visitor in somebody(chromium, http):
        visitor.open("/admin/login")
        log_in(visitor, password)
        visitor.title("Dashboard")
        yield visitor


@pytest.fixture
def right_answers(host):
    """Return a function that reads the right answers of the round that a visitor plays."""

    def tell(visitor: Visitor) -> list[int]:
        number = visitor.page.url.rpartition("/")[2]
        output = host.check_output("aroundtheworld-run python -c %s %s", ANSWERS, number)
        return [answer for _, answer in sorted(json.loads(output))]

    return tell


@pytest.fixture
def traveller(stranger, right_answers) -> Visitor:
    """Return a visitor who has earned coins with a round, and is at its result."""
    stranger.open("/quiz")
    stranger.press("Start")
    answer_all(stranger, right_answers)
    return stranger


def answer_all(visitor: Visitor, right_answers) -> None:
    """Answer every question of a round rightly, by keyboard."""
    visitor.page.wait_for_url(re.compile(r"/quiz/\d+$"))
    for position, answer in enumerate(right_answers(visitor), 1):
        expect(visitor.page.get_by_text(f"Question {position} of")).to_be_visible()
        visitor.page.keyboard.press(str(answer + 1))
    expect(visitor.page.locator(".score")).to_have_text("10 of 10")
    visitor.title("A perfect trip!")


def sign_up(visitor: Visitor, name: str) -> None:
    visitor.open("/signup")
    visitor.page.get_by_label("Name").fill(name)
    visitor.page.get_by_label("Password").fill(PASSWORD)
    visitor.press("Sign up")
    visitor.page.wait_for_url(re.compile(r"/travel$"))


def log_in(visitor: Visitor, password: str, name: str = "grace") -> None:
    visitor.page.get_by_label("Name").fill(name)
    visitor.page.get_by_label("Password").fill(password)
    visitor.press("Log in")


# What can be broken, how, and a word of what is then to be noticed. The site's policy forbids
# inline styles and pictures from elsewhere, so that is not how.
BREAKAGES = {
    "a field without a label": ("main.append(document.createElement('input'))", "axe: label"),
    "a pale text": ("main.querySelector('h1').style.color = '#bbb'", "axe: color-contrast"),
    "a picture without words": (
        "main.append(Object.assign(new Image(), {src: '/static/logo.svg'}))",
        "axe: image-alt",
    ),
    "a page that is too wide": ("main.style.width = '3000px'", "scrolls sideways"),
    "a word in the console": ("console.error('something')", "console: something"),
    "a script that fails": ("setTimeout(() => undefinedName, 0)", "script: "),
    "a picture that is missing": (
        "main.append(Object.assign(new Image(), {src: '/nowhere', alt: ''}))",
        "404 for ",
    ),
    "a request elsewhere": ("fetch('http://192.0.2.1/').catch(() => {})", "192.0.2.1"),
}


@pytest.mark.parametrize("what", BREAKAGES)
def test_a_visitor_sees_what_is_wrong(stranger, what):
    """These tests can fail: whatever is broken on purpose is noticed."""
    breaking, word = BREAKAGES[what]
    stranger.open("/leaderboard")
    assert stranger.problems() == []
    stranger.page.evaluate(f"const main = document.querySelector('main'); {breaking}; null")
    stranger.page.wait_for_timeout(200)
    found = stranger.problems()
    assert any(word in problem for problem in found), found
    stranger.wrong.clear()


@pytest.fixture(scope="module")
def others(host) -> None:
    """Have others play, so that lists and reports have something to show."""
    host.check_output("aroundtheworld-run python -m aroundtheworld simulate --players 40")


@pytest.mark.usefixtures("others")
def test_looking_around(stranger):
    for name, path in {
        "home": "/",
        "play": "/quiz",
        "countries": "/countries",
        "country": "/countries/south-africa",
        "city": "/cities/2988507",
        "leaders": "/leaderboard",
        "api": "/api",
        "you-before": "/you",
    }.items():
        stranger.open(path)
        stranger.look(name)


def test_a_round_by_mouse(stranger, right_answers):
    stranger.open("/")
    stranger.press("Start a round")
    stranger.look("question")
    answers = right_answers(stranger)
    for position, answer in enumerate(answers):
        # The second answer is wrong.
        chosen = (answer + 1) % 4 if position == 1 else answer
        stranger.page.locator(".choices button").nth(chosen).click()
        if position < 2:
            status = stranger.page.get_by_role("status")
            expect(status).to_contain_text(("Right.", "No.")[position])
            stranger.look(("question-after-right", "question-after-wrong")[position])
    expect(stranger.page.locator(".score")).to_have_text("9 of 10")
    stranger.look("result")


def test_a_round_by_keyboard(stranger, right_answers):
    stranger.open("/")
    keyboard = stranger.page.keyboard
    keyboard.press("Tab")
    expect(stranger.page.get_by_role("link", name="To the content")).to_be_focused()
    stranger.look("home-skip-link")
    keyboard.press("Enter")
    keyboard.press("Tab")
    expect(stranger.page.get_by_role("button", name="Start a round")).to_be_focused()
    keyboard.press("Enter")
    answer_all(stranger, right_answers)


def test_flying(traveller):
    page = traveller.page
    traveller.follow("Where can you fly?")
    traveller.title(re.compile("^You are in "))
    here = page.get_by_role("heading", level=1).inner_text()
    traveller.look("travel")
    # By keyboard to the first flight, by mouse into the plane.
    first = page.locator(".flights a").first
    city = first.inner_text()
    first.focus()
    page.keyboard.press("Enter")
    traveller.title(city)
    traveller.look("city-to-fly-to")
    page.get_by_role("button", name=re.compile("^Fly there for ")).click()
    traveller.title(re.compile(f"^You are in {re.escape(city)}, "))
    assert page.get_by_role("heading", level=1).inner_text() != here
    traveller.open("/you")
    expect(page.get_by_role("row", name=re.compile(city))).to_be_visible()
    traveller.look("you-guest")


def test_a_city_out_of_reach(stranger):
    stranger.open("/quiz")
    stranger.press("Start")
    stranger.open("/cities/2147714")
    expect(stranger.page.get_by_role("main")).to_contain_text("lack")
    stranger.look("city-out-of-reach")
    stranger.open("/travel")
    expect(stranger.page.get_by_text("Nothing is in reach yet.")).to_be_visible()


def test_what_happens_is_told_at_once(traveller, another):
    another.open("/leaderboard")
    feed = another.page.locator("#feed li")
    newest = feed.first.get_attribute("data-id")
    traveller.open("/travel")
    traveller.page.locator(".flights a").first.click()
    traveller.page.get_by_role("button", name=re.compile("^Fly there for ")).click()
    expect(feed.first).not_to_have_attribute("data-id", newest)


def test_signing_up(traveller):
    name = f"amelia-{RUN}"
    traveller.open("/signup")
    traveller.look("signup")
    traveller.page.get_by_label("Name").fill("-")
    traveller.page.get_by_label("Password").fill(PASSWORD)
    with traveller.refused(400):
        traveller.press("Sign up")
    traveller.look("signup-refused")
    sign_up(traveller, name)
    traveller.title(re.compile("^You are in "))
    traveller.open("/you")
    traveller.title(name)
    traveller.look("you")
    traveller.press("Log out")
    traveller.open("/login")
    traveller.look("login")
    with traveller.refused(403):
        log_in(traveller, "something else", name)
    traveller.look("login-refused")
    log_in(traveller, PASSWORD, name)
    traveller.title(name)


def test_errors_have_pages_of_their_own(stranger):
    with stranger.refused(404):
        stranger.open("/nowhere")
    stranger.look("error-404")
    stranger.open("/quiz")
    stranger.page.context.clear_cookies()
    with stranger.refused(403):
        stranger.press("Start")
    stranger.look("error-403")


def test_the_way_in_for_administrators(stranger, password):
    stranger.open("/admin/questions")
    stranger.title("Log in")
    stranger.look("admin-login")
    log_in(stranger, password)
    stranger.title(re.compile("^Questions"))
    stranger.open("/admin")
    stranger.look("admin-dashboard")


def test_a_question_is_written_and_published(admin):
    admin.open("/admin/questions")
    admin.look("admin-questions-none")
    admin.follow("New question")
    page = admin.page
    for label in ("Right answer", "Wrong answer 1", "Wrong answer 2", "Wrong answer 3"):
        page.get_by_label(label).fill(f"{label}, as written")
    page.get_by_label("Question", exact=True).fill(f"{QUESTION} Or not?")
    page.get_by_label("Fact, told afterwards").fill("The first one is.")
    page.get_by_role("combobox", name="Country").select_option("Portugal")
    page.get_by_label("Wrong answer 3").fill("Wrong answer 2, as written")
    with admin.refused(400):
        admin.press("Save")
    expect(page.get_by_role("alert")).to_contain_text("Wrong answer 3 must differ")
    admin.look("admin-question-refused")
    page.get_by_label("Wrong answer 3").fill("Another answer")
    admin.press("Save")
    expect(page.get_by_role("status")).to_have_text("The question was added.")
    page.get_by_label("Question", exact=True).fill(QUESTION)
    admin.press("Save")
    expect(page.get_by_role("status")).to_have_text("The question was saved.")
    admin.press("Publish")
    expect(page.get_by_role("status")).to_have_text("The question is asked from now on.")
    expect(page.get_by_label("Question", exact=True)).to_have_value(QUESTION)
    admin.look("admin-question")
    admin.open("/admin/questions")
    expect(page.get_by_role("row", name=re.compile(RUN))).to_contain_text("yes")
    admin.look("admin-questions")


def test_a_bad_file_is_refused_line_by_line(admin):
    admin.open("/admin/questions/import")
    with admin.page.expect_download() as download:
        admin.follow("Export all questions")
    header = download.value.path().read_text("utf-8-sig").splitlines()[0]
    known = {"id": "", "category": "history", "country": "PT", "difficulty": "medium"}
    known["published"] = "no"
    good = ",".join(known.get(column, f"a {column}") for column in header.split(","))
    bad = f"{header}\n{good}\n{good.replace('medium', 'hardly')}\n1,2\n"
    admin.page.get_by_label("CSV file").set_input_files(
        {"name": "questions.csv", "mimeType": "text/csv", "buffer": bad.encode()}
    )
    with admin.refused(400):
        admin.press("Import")
    alert = admin.page.get_by_role("alert")
    expect(alert).to_contain_text("Nothing was imported")
    expect(alert).to_contain_text("Line 3, column difficulty")
    expect(alert).to_contain_text("Line 4")
    admin.look("admin-import-refused")


def offer_photo(admin: Visitor, caption: str, content: bytes) -> None:
    page = admin.page
    page.get_by_role("combobox", name="City").select_option("Lisbon")
    page.get_by_label("What it shows").fill(caption)
    page.get_by_label("Who took it").fill("Grace")
    file = {"name": "river.jpg", "mimeType": "image/jpeg", "buffer": content}
    page.get_by_label("Photo", exact=True).set_input_files(file)


def add_photo(admin: Visitor, caption: str) -> None:
    picture = io.BytesIO()
    PIL.Image.linear_gradient("L").resize((1600, 900)).convert("RGB").save(picture, "JPEG")
    offer_photo(admin, caption, picture.getvalue())
    admin.press("Add")
    expect(admin.page.get_by_role("status")).to_have_text("The photo was added.")


def test_a_photo_is_uploaded_and_shown(admin, stranger):
    caption, page = f"River {RUN}", admin.page
    admin.open("/admin/photos")
    admin.look("admin-photos-none")
    offer_photo(admin, caption, b"no picture")
    with admin.refused(400):
        admin.press("Add")
    expect(page.get_by_role("alert")).to_contain_text("Nothing was added.")
    add_photo(admin, caption)
    image = page.get_by_role("img", name=caption)
    image.scroll_into_view_if_needed()
    expect(image).to_have_js_property("complete", value=True)
    admin.look("admin-photos")
    city = page.get_by_role("link", name="Lisbon").first.get_attribute("href")
    stranger.open(city)
    stranger.page.get_by_role("img", name=caption).scroll_into_view_if_needed()
    stranger.page.wait_for_load_state("networkidle")
    stranger.look("city-with-photo")
    assert stranger.page.evaluate("document.querySelector('.photos img').naturalWidth") > 0
    admin.press("Make all thumbnails again")
    expect(page.get_by_role("status")).to_contain_text(re.compile("Those of [0-9]+ photo"))
    admin.look("admin-photos-remade")


@pytest.mark.usefixtures("others")
def test_every_report_runs(admin):
    admin.open("/admin/reports")
    admin.look("admin-reports-none")
    buttons = admin.page.locator("main form button[name=kind]")
    kinds = buttons.all_inner_texts()
    assert len(kinds) >= 5
    for number, kind in enumerate(kinds, 1):
        admin.open("/admin/reports")
        admin.press(kind)
        admin.title(kind)
        admin.page.wait_for_load_state("networkidle")
        assert admin.page.evaluate(
            "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
        )
        admin.look(f"admin-report-{number}")
    admin.open("/admin/reports")
    admin.look("admin-reports")
    admin.follow("The grand tour")
    admin.page.get_by_label("Cities").fill("40")
    admin.press("Compute")
    expect(admin.page.get_by_text("Computed in")).to_be_visible()
    admin.look("admin-grand-tour")


def test_players_workers_and_nothing(admin, stranger):
    name = f"bessie-{RUN}"
    sign_up(stranger, name)
    admin.open("/admin/players")
    expect(admin.page.get_by_role("row", name=re.compile(f"^{name}"))).to_be_visible()
    admin.look("admin-players")
    admin.open("/admin/workers")
    assert admin.page.get_by_role("row").count() == 5
    admin.look("admin-workers")
    with admin.refused(404):
        admin.open("/admin/nowhere")
    admin.look("admin-error-404")


def test_a_closed_site_tells_so_and_lets_administrators_in(
    admin, password, stranger, ansible_playbook
):
    caption = f"Bridge {RUN}"
    admin.open("/admin/photos")
    add_photo(admin, caption)
    assert ansible_playbook("--tags", "maintenance_on").returncode == 0
    try:
        with stranger.refused(503):
            stranger.open("/travel")
        stranger.title("All flights are grounded")
        stranger.look("closed")
        admin.press("Log out")
        admin.title("Log in")
        log_in(admin, password)
        admin.title("Dashboard")
        admin.open("/admin/photos")
        image = admin.page.get_by_role("img", name=caption)
        image.scroll_into_view_if_needed()
        admin.page.wait_for_load_state("networkidle")
        admin.look("admin-photos-while-closed")
        assert admin.page.evaluate("document.querySelector('.photos img').naturalWidth") > 0
    finally:
        assert ansible_playbook("--tags", "maintenance_off").returncode == 0
    stranger.open("/")
    stranger.title("How well do you know the world?")
