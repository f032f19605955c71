from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cloudtrail.trail.obstore_bucket import fits_obstore
from tests.support.engines import installed
from tests.support.s3 import client_of, session


@pytest.mark.skipif(not installed("boto3"), reason="needs boto3")
@pytest.mark.parametrize(
    ("config", "verify", "fits"),
    [
        pytest.param({}, None, True, id="plain"),
        pytest.param({}, False, True, id="no verification"),
        pytest.param({}, "/etc/example/ca.pem", False, id="CA bundle"),
        pytest.param({"proxies": {"https": "http://proxy.example:3128"}}, None, False, id="proxy"),
        pytest.param({"client_cert": "/etc/example/client.pem"}, None, False, id="client certificate"),
        pytest.param({"signature_version": "s3"}, None, False, id="old signatures"),
    ],
)
def test_settings_that_only_boto3_honours_keep_gets_there(config: dict[str, Any], verify: Any, fits: bool) -> None:
    assert fits_obstore(session().client("s3"), verify=None)
    assert fits_obstore(client_of("https://s3.example.org", **config), verify) is fits
