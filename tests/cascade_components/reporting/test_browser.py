"""The page in a real browser."""

import shutil

import pytest

import cascade_components as cc

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.enable_socket,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="chromium and chromedriver are not installed"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, written):
    def at(width=1200, scheme="light"):
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get(written.path.as_uri())
        return browser

    yield at
    assert browser.get_log("browser") == []


def texts(browser, selector):
    script = "return [...document.querySelectorAll(arguments[0])].map(one => one.textContent.trim())"
    return browser.execute_script(script, selector)


def background(browser):
    return browser.execute_script("return getComputedStyle(document.body).backgroundColor")


def lightness(colour):
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_it_fits_the_screen_in_both_schemes(opened, width, scheme):
    browser = opened(width, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert (lightness(background(browser)) > 380) == (scheme == "light")
    drawn = "return [...document.querySelectorAll('figure svg')].map(one => one.getBoundingClientRect().width)"
    assert min(browser.execute_script(drawn)) > 250
    ink = browser.execute_script("return getComputedStyle(document.querySelector('svg text')).fill")
    assert abs(lightness(ink) - lightness(background(browser))) > 300


def test_picking_an_operating_point_changes_the_numbers(opened, policy, held_out, page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser = opened()
    chosen = page.data["chosen"]
    before = texts(browser, "[data-show=accuracy]")
    browser.find_element(By.ID, "point").send_keys(Keys.HOME)
    there = policy.at(cost_weight=page.data["points"][0]["evaluation"]["cost_weight"])
    expected = cc.evaluate(there, held_out)
    assert set(texts(browser, "[data-show=accuracy]")) == {f"{expected.accuracy:.1%}"} != set(before)
    assert set(texts(browser, "[data-show=retention]")) == {f"{expected.retention:.1%}"}
    costs = [float(text.removeprefix("$")) for text in texts(browser, "[data-show=cost]")]
    assert costs == pytest.approx([1000 * expected.cost] * len(costs), rel=1e-3)
    assert set(texts(browser, "[data-show=escalation_rate]")) == {f"{expected.escalation_rate:.1%}"}
    assert texts(browser, "#routing tbody td:nth-child(5)") == [plan.start for plan in there.plans()]
    observed = {row.cluster: f"{row.accuracy:.1%}" for row in expected.by_cluster}
    assert texts(browser, "#routing tbody td:nth-child(10)") == [observed[cluster] for cluster in range(3)]
    assert texts(browser, ".picked") != []
    browser.find_element(By.ID, "back").click()
    assert texts(browser, "[data-show=accuracy]") == before
    assert browser.execute_script("return document.querySelector('.picked').id") == f"front-point-{chosen}"


def test_the_table_sorts(opened, policy):
    from selenium.webdriver.common.by import By

    browser = opened()
    sizes = [f"{size:.0f}" for size in sorted(policy.table.sizes)]
    header = browser.find_element(By.CSS_SELECTOR, "#routing th:nth-child(10) button")
    for direction in ("ascending", "descending"):
        header.click()
        shown = [float(text.rstrip("%")) for text in texts(browser, "#routing tbody td:nth-child(10)")]
        assert shown == sorted(shown, reverse=direction == "descending")
        assert header.find_element(By.XPATH, "..").get_attribute("aria-sort") == direction
    assert sorted(texts(browser, "#routing tbody td:nth-child(3)")) == sizes


def test_the_colours_can_be_switched(opened):
    from selenium.webdriver.common.by import By

    browser = opened(scheme="dark")
    dark = background(browser)
    browser.find_element(By.ID, "theme").click()
    assert lightness(background(browser)) > lightness(dark)
    browser.find_element(By.ID, "theme").click()
    assert background(browser) == dark


def test_it_reads_without_a_script(opened, browser, page):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened()
        shown = browser.find_element("css selector", "[data-show=accuracy]").text
        assert shown == page.shown["accuracy"]
        assert not browser.find_element("id", "point").is_displayed()
        assert browser.find_element("css selector", "figure svg").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
