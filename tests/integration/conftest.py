from __future__ import annotations

import pytest

from tests.support.deployment import Deployer, use_package_of
from tests.support.mwaa_stand_in import mwaa_stand_in


@pytest.fixture(scope="module")
def mwaa_server():
    with mwaa_stand_in() as served:
        yield served


@pytest.fixture
def deployer(mwaa_server, monkeypatch, tmp_path):
    """Somebody who deploys the small package to an environment of the stand-in for MWAA."""
    for name, value in mwaa_server.variables().items():
        monkeypatch.setenv(name, value)
    mwaa_server.allowed, mwaa_server.denied_calls = set(), set()
    made = Deployer(mwaa_server, mwaa_server.create(), tmp_path)
    use_package_of(made, monkeypatch)
    return made
