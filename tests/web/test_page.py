"""The page in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from lampit.demo.balances import OKU_SELATAN
from tests.web.served import Served

OPENING_DAY = "Sunday, 31 March 2019"
SHOWN_MS_MAX = 60_000
expect.set_options(timeout=SHOWN_MS_MAX)


@pytest.fixture
def tolerated() -> list[str]:
    """Beginnings of what the browser's console may say in a test that asks for a refusal."""
    return []


@pytest.fixture
def page(browser: Browser, served: Served, tolerated: list[str]) -> Iterator[Page]:
    """A page that may not fail silently and may ask nobody else."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(SHOWN_MS_MAX)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on(
        "request", lambda request: problems.append(request.url) if not request.url.startswith(served.url) else None
    )
    yield opened
    context.close()
    assert [problem for problem in problems if not problem.startswith(tuple(tolerated))] == []


def row(page: Page, region: str) -> Any:
    return page.locator(f'#rows tr[data-region="{region}"]')


def regions(page: Page) -> list[str]:
    return page.locator("#rows tr").evaluate_all("rows => rows.map(row => row.dataset.region)")


def test_the_published_coverage_of_oku_selatan_is_shown(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/#{OKU_SELATAN}")
    expect(page.locator("#percent")).to_have_text("78.88 %")
    expect(page.locator("#name")).to_have_text("Kabupaten Ogan Komering Ulu Selatan")
    expect(page.locator("#total-obliged")).to_contain_text("270,764")
    expect(page.locator("#total-population")).to_have_text("not stated")
    expect(page.locator("#as-of")).to_have_text(OPENING_DAY)
    expect(page.locator("#state-text")).to_have_text("Live")
    expect(page.locator("#opening")).to_contain_text("Opening balance")
    expect(page.locator("#notice")).to_contain_text("made up")


def test_a_click_goes_down_and_the_path_leads_back(page: Page, served: Served) -> None:
    page.goto(served.url)
    expect(page.locator("#name")).to_have_text("Indonesia")
    row(page, "16").get_by_role("link").click()
    expect(page.locator("#name")).to_have_text("Sumatera Selatan")
    row(page, "16.13").locator("td").last.click()  # anywhere in the row
    row(page, "16.13.01").get_by_role("link").press("Enter")  # and by the keyboard
    expect(page.locator("#name")).to_have_text("Rupit")
    assert len(regions(page)) == 17
    page.locator("#rows a").first.click()
    expect(page.locator("#level")).to_contain_text("Village")
    expect(page.locator("#below")).to_be_hidden()
    page.get_by_label("Region path").get_by_role("link", name="Sumatera Selatan").click()
    expect(page.locator("#name")).to_have_text("Sumatera Selatan")
    page.go_back()
    expect(page.locator("#level")).to_contain_text("Village")


def test_an_update_changes_the_row_without_a_reload(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/#16")
    expect(row(page, OKU_SELATAN)).to_contain_text("78.88 %")
    page.evaluate("window.stillHere = true")
    record = served.view.records[OKU_SELATAN]
    recorded = {**record["recorded"], "total": 213_602}
    unrecorded = {**record["unrecorded"], "total": 57_162}
    changed = {**record, "recorded": recorded, "unrecorded": unrecorded, "coverage": 213_602 / 270_764}
    served.show([changed, served.view.records["16"]])
    expect(row(page, OKU_SELATAN)).to_contain_text("78.89 %")
    expect(row(page, OKU_SELATAN)).to_contain_text("+30")
    expect(row(page, OKU_SELATAN)).to_have_class("changed")
    expect(row(page, "16.05")).not_to_have_class("changed")
    assert page.evaluate("window.stillHere") is True


def test_the_table_sorts_by_any_column_and_says_how(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/#15")
    expect(row(page, "15.03")).to_be_visible()
    by_name = regions(page)
    heads = page.locator("#heads th")
    expect(heads.nth(0)).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("button", name="Coverage").click()
    expect(heads.nth(5)).to_have_attribute("aria-sort", "ascending")
    assert regions(page)[0] == "15.03", "Sarolangun has the lowest coverage"
    page.keyboard.press("Enter")  # the button keeps the focus
    expect(heads.nth(5)).to_have_attribute("aria-sort", "descending")
    assert regions(page)[-1] == "15.03"
    page.get_by_role("button", name="Unrecorded").click()
    assert regions(page)[0] == "15.03"
    assert sorted(regions(page)) == sorted(by_name)


def test_people_known_by_events_only_have_no_coverage(page: Page, served: Served) -> None:
    served.play(4)
    page.goto(f"{served.url}/#{OKU_SELATAN}")
    expect(page.locator("#rows tr").first).to_contain_text("known people only")
    expect(page.locator("#foot")).to_contain_text("Not yet in a district")


def test_derived_figures_do_not_look_like_published_ones(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/#15")
    for code in ("15.01", "15.72"):
        expect(row(page, code)).to_contain_text("derived")
    expect(page.locator("#note")).to_contain_text("not published")


def test_over_one_hundred_percent_is_shown_as_it_is(page: Page, served: Served) -> None:
    record = served.view.records["16.05"]
    counts = {"obliged": 3_213_248, "recorded": 3_269_003, "unrecorded": -55_755}
    changed = {name: {**record[name], "total": total} for name, total in counts.items()}
    served.show([{**record, **changed, "coverage": 3_269_003 / 3_213_248}])
    page.goto(f"{served.url}/#16.05")
    expect(page.locator("#percent")).to_have_text("101.74 %")
    expect(page.locator("#total-unrecorded")).to_contain_text("−55,755")
    expect(page.locator("#explain")).to_contain_text("Over 100 %")


def test_figures_that_are_behind_say_so(page: Page, served: Served) -> None:
    page.goto(served.url)
    expect(page.locator("#state-text")).to_have_text("Live")
    served.set_health("caught_up", False, "figures are being added up")
    expect(page.locator("#state-text")).to_have_text("Behind: figures are being added up")


def test_a_region_without_figures_gets_a_sentence(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/#31.74")
    expect(page.locator("#empty")).to_have_text("Nothing is counted in region 31.74.")
    page.get_by_label("Region path").get_by_role("link", name="Indonesia").click()
    expect(page.locator("#figures")).to_be_visible()


@pytest.mark.parametrize("width", [320, 360, 390])
def test_a_phone_shows_everything_without_scrolling_sideways(page: Page, served: Served, width: int) -> None:
    served.play(4)
    page.set_viewport_size({"width": width, "height": 844})
    for region, inside in (("15", "15.03"), (OKU_SELATAN, "16.09.01")):  # with figures; known people only
        page.goto(f"{served.url}/#{region}")
        expect(row(page, inside)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(
            "document.querySelector('.scroll').scrollWidth <= document.querySelector('.scroll').clientWidth"
        )
    page.goto(f"{served.url}/#15")
    expect(row(page, "15.03")).to_contain_text("of 177,")


A_NIK = "3174010101900001"


@pytest.mark.parametrize("typed", [A_NIK, "id", "16.5", "%"])
def test_what_is_no_region_code_gets_a_sentence_and_is_not_repeated(page: Page, served: Served, typed: str) -> None:
    page.goto(f"{served.url}/#{OKU_SELATAN}")
    expect(page.locator("#state-text")).to_have_text("Live")
    page.goto(f"{served.url}/#{typed}")
    expect(page.locator("#state-text")).to_have_text("No region")
    expect(page.locator("#empty")).to_contain_text("That is no region code.")
    expect(page).to_have_title("Region unknown · Lampit")
    expect(page.locator("#record")).to_have_attribute("href", "/api/coverage/ID")
    assert A_NIK not in page.content()
    page.get_by_label("Region path").get_by_role("link", name="Indonesia").click()
    expect(page.locator("#figures")).to_be_visible()


def test_those_who_listen_to_the_page_get_tables_and_news(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/#16")
    expect(page.get_by_role("table", name="Regencies and cities of Sumatera Selatan")).to_be_visible()
    expect(page.get_by_role("rowheader").first).to_contain_text("Kabupaten")
    expect(page.get_by_role("columnheader", name="Coverage")).to_be_visible()
    shown = page.locator("#percent").inner_text().removesuffix(" %")
    expect(page.get_by_role("status")).to_have_text(f"Sumatera Selatan: coverage {shown} percent")
    assert page.locator("#announce").get_attribute("aria-live") == "polite"


def test_the_record_linked_is_that_of_the_region_shown(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/#{OKU_SELATAN}")
    expect(page.locator("#record")).to_have_attribute("href", f"/api/coverage/{OKU_SELATAN}")
    page.locator("#record").click()
    assert json.loads(page.locator("body").inner_text())["region"] == OKU_SELATAN


def test_another_day_can_be_looked_at_and_left_again(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/#16.13")
    expect(page.locator("#state-text")).to_have_text("Live")
    today = page.locator("#total-obliged").inner_text()
    page.get_by_label("Another day").fill("2029-04-17")
    expect(page.locator("#as-of")).to_have_text("Tuesday, 17 April 2029")
    expect(page.locator("#state-text")).to_have_text("As known now")
    expect(page.locator("#total-obliged")).not_to_have_text(today)
    row(page, "16.13.01").get_by_role("link").click()  # the day goes along
    expect(page.locator("#name")).to_have_text("Rupit")
    expect(page.locator("#as-of")).to_have_text("Tuesday, 17 April 2029")
    page.get_by_role("link", name="Back to now").click()
    expect(page.locator("#as-of")).to_have_text(OPENING_DAY)
    expect(page.locator("#state-text")).to_have_text("Live")


def test_a_day_without_an_answer_says_why(page: Page, served: Served, tolerated: list[str]) -> None:
    tolerated.append("Failed to load resource")
    page.goto(f"{served.url}/#16.09@2019-01-01")
    expect(page.locator("#opening")).to_contain_text("Balance still to come")
    page.goto(f"{served.url}/#31.74@2019-01-02")
    expect(page.locator("#empty")).to_contain_text("nothing is counted there")
    served.mute = True
    page.get_by_label("Another day").fill("2019-01-03")
    expect(page.locator("#empty")).to_have_text("A ledger worker did not answer.")
    page.get_by_role("link", name="Back to now").click()
    expect(page.locator("#state-text")).to_have_text("Live")


def test_a_year_that_is_being_typed_is_not_asked_for(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/#16.13")
    expect(page.locator("#state-text")).to_have_text("Live")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "as_of=" in request.url else None)
    page.get_by_label("Another day").focus()
    page.keyboard.type("04172029")  # month, day, year, as this browser asks for them
    expect(page.locator("#as-of")).to_have_text("Tuesday, 17 April 2029")
    assert not [url for url in asked if "as_of=0" in url]


def test_figures_that_come_do_not_write_over_a_day_that_is_being_typed(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/#16.13")
    expect(page.locator("#state-text")).to_have_text("Live")
    day = page.get_by_label("Another day")
    day.focus()
    page.keyboard.type("041720")
    expect(page.locator("#as-of")).to_have_text("Wednesday, 17 April 2019")  # a day by itself, before the year is typed
    page.keyboard.type("29")
    expect(page.locator("#as-of")).to_have_text("Tuesday, 17 April 2029")
    page.keyboard.press("Backspace")
    day.blur()
    expect(day).to_have_value("2029-04-17")


def test_a_day_that_is_none_is_told_in_words_of_the_page(page: Page, served: Served, tolerated: list[str]) -> None:
    tolerated.append("Failed to load resource")
    page.goto(f"{served.url}/#16.13@2029-02-31")
    expect(page.locator("#empty")).to_have_text("That is no day of the calendar, written YYYY-MM-DD.")
    expect(page.get_by_label("Another day")).to_be_visible()
