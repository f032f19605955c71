from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cloudtrail.trail.obstore_settings import address_of, fits_obstore
from tests.support.engines import installed
from tests.support.s3 import client_of, session

pytestmark = pytest.mark.skipif(not installed("boto3"), reason="needs boto3")


@pytest.mark.parametrize(
    ("config", "fits"),
    [
        pytest.param({}, True, id="plain"),
        pytest.param({"proxies": {"https": "http://proxy.example:3128"}}, False, id="proxy"),
        pytest.param({"client_cert": "/etc/example/client.pem"}, False, id="client certificate"),
        pytest.param({"signature_version": "s3"}, False, id="old signatures"),
        pytest.param({"signature_version": "s3v4"}, True, id="signatures of S3"),
        pytest.param({"signature_version": "s3v4a"}, False, id="signatures for several Regions"),
    ],
)
def test_settings_that_only_boto3_honours_keep_gets_there(config: dict[str, Any], fits: bool) -> None:
    assert fits_obstore(session().client("s3"))
    assert fits_obstore(client_of("https://s3.example.org", **config)) is fits


@pytest.mark.parametrize(
    ("bucket", "arguments", "config", "address"),
    [
        pytest.param("trail", {}, {}, "https://trail.s3.eu-west-1.amazonaws.com eu-west-1", id="bucket"),
        pytest.param(
            "audit-q1w2e3r4t5-s3alias",
            {},
            {},
            "https://audit-q1w2e3r4t5-s3alias.s3.eu-west-1.amazonaws.com eu-west-1",
            id="access point",
        ),
        pytest.param("my.trail", {}, {}, "https://s3.eu-west-1.amazonaws.com/my.trail eu-west-1", id="dots"),
        pytest.param("My_Trail", {}, {}, "https://s3.eu-west-1.amazonaws.com/My_Trail eu-west-1", id="old name"),
        pytest.param(
            "trail",
            {},
            {"s3": {"addressing_style": "path"}},
            "https://s3.eu-west-1.amazonaws.com/trail eu-west-1",
            id="path is wanted",
        ),
        pytest.param(
            "trail",
            {"region_name": "us-east-1"},
            {"use_fips_endpoint": True},
            "https://trail.s3-fips.us-east-1.amazonaws.com us-east-1",
            id="FIPS",
        ),
        pytest.param(
            "trail",
            {},
            {"use_dualstack_endpoint": True},
            "https://trail.s3.dualstack.eu-west-1.amazonaws.com eu-west-1",
            id="dual stack",
        ),
        pytest.param(
            "trail",
            {"region_name": "cn-north-1"},
            {},
            "https://trail.s3.cn-north-1.amazonaws.com.cn cn-north-1",
            id="another partition",
        ),
        pytest.param(
            "trail",
            {"endpoint_url": "https://bucket.vpce-0a1b2c-3d4e.s3.eu-west-1.vpce.amazonaws.com"},
            {},
            "https://bucket.vpce-0a1b2c-3d4e.s3.eu-west-1.vpce.amazonaws.com/trail eu-west-1",
            id="interface endpoint",
        ),
        pytest.param(
            "trail",
            {"endpoint_url": "https://s3.example.org"},
            {"s3": {"addressing_style": "virtual"}},
            "https://trail.s3.example.org eu-west-1",
            id="another server with a host for each bucket",
        ),
        pytest.param(
            "trail",
            {"endpoint_url": "https://s3.example.org", "region_name": "aws-global"},
            {},
            "https://s3.example.org/trail us-east-1",
            id="no Region",
        ),
    ],
)
def test_address_is_where_boto3_asks(
    bucket: str, arguments: dict[str, Any], config: dict[str, Any], address: str
) -> None:
    from botocore.config import Config

    client = session().client("s3", config=Config(**config), **arguments)
    assert " ".join(address_of(client, bucket)) == address


@pytest.mark.parametrize(
    ("bucket", "service"),
    [
        pytest.param("audit-o0b1d075431d83bebde8xz5w8ijx1qzlbp3i3kuse10--op-s3", "s3-outposts", id="Outposts"),
        pytest.param("audit--euw1-az1--x-s3", "s3express", id="directory bucket"),
    ],
)
def test_what_is_signed_for_another_service_than_s3_stays_with_boto3(bucket: str, service: str) -> None:
    with pytest.raises(ValueError, match=f"boto3 signs for {service}"):
        address_of(session().client("s3"), bucket)
