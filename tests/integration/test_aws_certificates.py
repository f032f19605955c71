"""Certificates that an AWS connection, or the environment, has S3 be trusted by, whichever client reads the bucket."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.trail import s3_store
from airflow_provider_cloudtrail.trail.store import StoreError
from tests.support.asked_bucket import KEY, READERS, Bucket, connect
from tests.support.http_server import http_server
from tests.support.s3 import transport_of


@pytest.fixture(params=[False, True], ids=["server", "server that vouches for others"])
def authority(request, tmp_path):
    """Return a certificate for 127.0.0.1 that only this file vouches for, and the file; obstore takes not each."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "example")])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    if request.param:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    file = tmp_path / "ca.pem"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    secret = tmp_path / "key.pem"
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, secret)
    return context, file


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_ca_bundle_of_the_environment(authority, reader, monkeypatch, variable):
    context, file = authority

    class OfThisTest(Bucket):
        asked = SimpleNamespace(seen=[], roles=0)

    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with http_server(OfThisTest, context) as endpoint:
        retries = {"total_max_attempts": 1}
        connect(monkeypatch, endpoint_url=endpoint, region_name="eu-central-1", config_kwargs={"retries": retries})
        monkeypatch.setenv(variable, str(file))
        store = CloudTrailHook(aws_conn_id="audit_reader").get_store("example-trail")
        assert transport_of(store) == reader
        assert store.get(KEY).body == b"content"


def test_ca_bundle_of_the_connection(authority, reader, monkeypatch, tmp_path):
    context, file = authority

    class OfThisTest(Bucket):
        asked = SimpleNamespace(seen=[], roles=0)

    # What is said of the environment's does not hold then.
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    with http_server(OfThisTest, context) as endpoint:
        connect(monkeypatch, endpoint_url=endpoint, region_name="eu-central-1")
        store = CloudTrailHook(aws_conn_id="audit_reader", verify=str(file)).get_store("example-trail")
        assert transport_of(store) == reader
        assert store.get(KEY).body == b"content"


def test_a_certificate_that_is_not_trusted_is_called_so(authority, reader, monkeypatch):
    context, _ = authority
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(s3_store, "ATTEMPTS", 1)
    with http_server(Bucket, context) as endpoint:
        retries = {"total_max_attempts": 1}
        hook = connect(
            monkeypatch, endpoint_url=endpoint, region_name="eu-central-1", config_kwargs={"retries": retries}
        )
        with pytest.raises(StoreError, match=r"certificate verify failed.*AWS_CA_BUNDLE or verify$"):
            hook.get_store("example-trail").get(KEY)


def test_ca_bundle_that_obstore_does_not_take_stays_with_boto3(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    hook = connect(monkeypatch, endpoint_url="http://127.0.0.1:1", region_name="eu-central-1")
    assert transport_of(hook.get_store("example-trail")) == "boto3"
    # It is not looked at where nothing is verified.
    hook = CloudTrailHook(aws_conn_id="audit_reader", verify=False)
    assert transport_of(hook.get_store("example-trail")) == READERS[-1]
