"""A real Chromium without a window, for pages that commands write."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PHONE, DESKTOP = (320, 640), (1280, 900)
_SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """Yield a driver of Chromium with an empty ``profile``; skip the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    browser, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not browser or not driver:
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for switch in (*_SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield started
    finally:
        started.quit()


class Window:
    """A page in a browser, looked at as people do."""

    def __init__(self, driver: Any, page: Path) -> None:
        self.driver = driver
        self.look()
        driver.get(page.as_uri())

    def look(self, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> None:
        """Take a screen of so many CSS pixels, touched by fingers if it is a phone's."""
        width, height = size
        phone = size == PHONE
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)
        self.command("Emulation.setTouchEmulationEnabled", enabled=phone)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def command(self, name: str, **parameters: Any) -> Any:
        """Send a command of Chromium's developer tools."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what the body of a JavaScript function returns."""
        return self.driver.execute_script(script, *arguments)

    def one(self, selector: str) -> Any:
        """Return the first element that CSS ``selector`` finds."""
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        """Return all elements that CSS ``selector`` finds."""
        return self.driver.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        """Return all text of an element, whether it is in view or not."""
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def press(self, *keys: str) -> None:
        """Press keys, by their names in selenium (``TAB``) or as characters, wherever the focus is."""
        from selenium.webdriver import ActionChains, Keys

        for key in keys:
            ActionChains(self.driver, 0).send_keys(getattr(Keys, key, key)).perform()

    @property
    def focused(self) -> Any:
        """The element that has the focus."""
        return self.driver.switch_to.active_element

    def tap(self, element: Any) -> None:
        """Touch the middle of an element with a finger."""
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        x, y = self.run(
            "const box = arguments[0].getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]",
            element,
        )
        self.command("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.command("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def complaints(self) -> list[str]:
        """Return what the browser has said since it was asked last: errors, refused scripts, failed requests."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
