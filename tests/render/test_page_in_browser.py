"""The report in a real browser: Debian's chromium, without a network. Skipped where there is none."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hype_bench.render.page.build import write_report
from tests.render.many_runs import write_many
from tests.render.nasty import SHOWN, write_nasty
from tests.render.test_upload import write_experiment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
TITLE = "hype_bench: nasty, table1"  # and not "taken"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: the report is not tested in a browser")
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: the report is not tested in a browser")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results_dir, data = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("data")
    write_nasty(results_dir, data)
    write_experiment(results_dir)
    return write_report(results_dir, [], "paper").page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, index: Path) -> Iterator[Page]:
    """The report, opened from disk. No error in the console, and no request but for files beside it."""
    wrong: list[str] = []
    page = browser.new_page()
    page.set_default_timeout(30_000)
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith((index.parent.as_uri(), "blob:")) else wrong.append(asked.url),
    )
    page.goto(index.as_uri())
    page.wait_for_selector("#run-table tbody a")
    yield page
    page.close()
    assert wrong == []


def column(page: Page, number: int) -> list[str]:
    return page.locator(f"#run-table tbody td:nth-child({number})").all_inner_texts()


def test_runs_are_sorted_searched_and_filtered(page: Page) -> None:
    assert len(column(page, 1)) == 22  # a page of the table has 25
    page.get_by_role("button", name="score: Activate to sort").click()
    page.wait_for_selector("#run-table th[aria-sort=ascending]")
    scores = [float(text) for text in column(page, 8) if text]
    assert scores == sorted(scores)
    page.get_by_label("Search").last.fill("hype_n mrpc")
    page.wait_for_selector("text=filtered from")
    assert set(column(page, 5)) == {"hype_n"}
    assert column(page, 2).count("done") == 1
    page.get_by_label("Search").last.fill("")
    runs = page.locator("#run-table")
    runs.get_by_role("button", name="Filter by method").click()
    assert set(page.locator(".dtcc-dropdown .dtcc-list-buttons .dtcc-button-text").all_inner_texts()) >= {SHOWN}
    page.keyboard.press("Escape")
    runs.get_by_role("button", name="Filter by state").click()
    page.get_by_role("button", name="diverged").click()
    page.wait_for_selector("text=filtered from")
    assert column(page, 2) == ["diverged"]
    assert page.title() == TITLE


def test_a_run_opens_with_its_curve_and_the_way_back(page: Page) -> None:
    assert page.title() == TITLE
    page.get_by_role("link", name="run1", exact=True).click()
    page.wait_for_selector("#curves canvas")
    assert page.locator("h1").inner_text() == f"{SHOWN} mine {SHOWN} seed 1"
    assert page.locator("#curves .u-title").all_inner_texts() == ["loss", SHOWN]
    page.get_by_text("The curve in numbers").click()
    page.wait_for_selector("#numbers tr")
    assert page.locator("#numbers tr").all_inner_texts() == [f"update\tloss\t{SHOWN}", "10\t0.7\t0.5", "20\t\t"]
    page.get_by_role("link", name="All runs").click()
    page.wait_for_selector("#run-table tbody a")


def test_keys_alone_sort_and_open(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    sort = page.get_by_role("button", name="seed: Activate to sort")
    sort.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#run-table th[aria-sort=ascending]")
    assert column(page, 6) == sorted(column(page, 6))
    page.locator("#run-table tbody a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_are_readable(page: Page, scheme: Any, index: Path) -> None:
    """axe-core, for what WCAG asks at level AA: contrasts, names of controls, order of headings."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-core: contrasts are not tested")
    page.emulate_media(color_scheme=scheme)
    for address in (index, index.parent / "runs" / "run1.html"):
        page.goto(address.as_uri())
        assert page.evaluate("document.documentElement.classList.contains('dark')") is (scheme == "dark")
        page.wait_for_timeout(300)  # until the tables or the curves are drawn
        violations = (
            axe.Axe()
            .run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"], "preload": False})
            .response["violations"]
        )
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in violations] == []


def test_the_reader_chooses_the_theme_and_prints_light(page: Page) -> None:
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Light or dark").click()
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(21, 23, 27)"
    page.reload()
    assert page.evaluate(background) == "rgb(21, 23, 27)"
    page.emulate_media(media="print")
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    frames = page.locator(".wide, .dt-layout-table").evaluate_all(
        "all => all.map(at => getComputedStyle(at).overflowX)"
    )
    assert set(frames) == {"visible"}  # paper does not scroll
    assert not page.get_by_role("button", name="Light or dark").is_visible()


@pytest.mark.slow
def test_ten_thousand_runs(browser: Browser, tmp_path: Path) -> None:
    """Built in less than a minute of one core, opened in less than two seconds."""
    written = write_many(tmp_path)
    start = time.process_time()
    report = write_report(tmp_path, [], "paper")
    assert time.process_time() - start < 60
    assert (len(report.runs), report.complaints) == (written, [])
    page = browser.new_page()
    start = time.perf_counter()
    page.goto(report.page.as_uri())
    page.wait_for_selector("#run-table tbody a")
    assert time.perf_counter() - start < 2
    assert page.locator("text=of 10,000 entries").count() == 1
    page.close()
