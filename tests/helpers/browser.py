"""A headless chromium."""

import contextlib
import shutil

import pytest

FLAGS = """headless=new no-sandbox disable-gpu disable-dev-shm-usage disable-quic no-first-run disable-sync
disable-background-networking disable-component-update window-size=1400,1600"""


@contextlib.contextmanager
def chromium(profile):
    """The driver of a browser with its profile in a folder, which logs errors and what is loaded; skips without one."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: requirements-test.txt")
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        pytest.skip("no chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in (*FLAGS.split(), f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    try:
        yield driver
    finally:
        driver.quit()
