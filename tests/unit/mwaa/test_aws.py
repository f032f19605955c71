from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.mwaa.aws import Aws, asked
from airflow_provider_cloudtrail.mwaa.errors import MwaaError, MwaaUsageError


@pytest.fixture(autouse=True)
def configuration(monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config").write_text("[profile audit]\nregion = eu-north-1\n", encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


@pytest.mark.parametrize(
    ("given", "variables", "region"),
    [
        pytest.param(
            {"region": "eu-west-1", "profile": "audit"},
            {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-2"},
            "eu-west-1",
            id="given",
        ),
        pytest.param(
            {"profile": "audit"},
            {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-2"},
            "us-east-1",
            id="AWS_REGION",
        ),
        pytest.param({"profile": "audit"}, {"AWS_DEFAULT_REGION": "us-east-2"}, "us-east-2", id="AWS_DEFAULT_REGION"),
        pytest.param({"profile": "audit"}, {"AWS_REGION": ""}, "eu-north-1", id="profile"),
        pytest.param({}, {"AWS_REGION": "us-east-1"}, "us-east-1", id="AWS_REGION and no profile"),
    ],
)
def test_the_region_is_the_one_that_the_aws_cli_would_take(monkeypatch, given, variables, region):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    aws = Aws(**given)
    assert aws.region == region
    assert aws.client("s3").meta.region_name == region


def test_no_region_is_known():
    with pytest.raises(MwaaUsageError, match="name it with --region, or set AWS_REGION"):
        Aws()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        pytest.param({"AWS_REGION": "eu west"}, "eu west", id="Region"),
        pytest.param({"AWS_ACCESS_KEY_ID": "example"}, "AWS_SECRET_ACCESS_KEY", id="half of the credentials"),
        pytest.param({"AWS_ENDPOINT_URL": "nonsense"}, "nonsense", id="endpoint"),
        pytest.param({"AWS_CONFIG_FILE": __file__}, "config file", id="configuration"),
    ],
)
def test_what_can_be_no_configuration_is_named(monkeypatch, variables, message):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"AWS_REGION": "eu-west-1", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MwaaUsageError, match=message):
        Aws().client("s3")


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param(
            {
                "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/deployer",
                "AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent/token",
            },
            id="web identity",
        ),
        pytest.param(
            {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/nonexistent/token",
            },
            id="container",
        ),
    ],
)
def test_a_token_that_is_not_there_is_named(monkeypatch, variables):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    aws = Aws(region="eu-west-1")
    with (
        pytest.raises(MwaaError, match="/nonexistent/token"),
        asked("s3:ListAllMyBuckets", "all"),
    ):
        aws.client("s3").list_buckets()
