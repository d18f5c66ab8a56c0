"""The version has one value everywhere, and the changelog the form of Keep a Changelog."""

import re

import train
from softcpt.evaluation.provenance import software_versions

CHANGELOG = (train.PROJECT_ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_version_is_the_newest_in_the_changelog():
    headings = re.findall(r"^## (.+)$", CHANGELOG, re.M)
    assert headings[0] == "[Unreleased]"
    version, date = re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", headings[1]).groups()
    assert software_versions()["softcpt"] == version and date >= "2026-11-30"


def test_every_heading_of_the_changelog_has_its_link():
    headings = re.findall(r"^## \[(.+?)\]", CHANGELOG, re.M)
    assert re.findall(r"^\[(.+?)\]: \S+$", CHANGELOG, re.M) == headings
    assert f"[Unreleased]: ../../compare/v{headings[1]}...HEAD" in CHANGELOG
