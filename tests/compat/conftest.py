"""Fixtures of the tests of Dassl's API."""

import pytest
from dassl_toy import toy_cfg


@pytest.fixture
def cfg(tmp_path):
    """The config of a run of the toy method, in a folder of its own."""
    return toy_cfg(tmp_path)
