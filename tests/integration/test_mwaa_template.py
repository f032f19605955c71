"""The CloudFormation template, and the IAM statements that stand in it, in the README and in the code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_cloudtrail.mwaa import permissions
from airflow_provider_cloudtrail.mwaa.__main__ import TEMPLATE, main
from airflow_provider_cloudtrail.mwaa.permissions import STATEMENTS
from tests.support.engines import REPOSITORY, installed
from tests.support.moto_trail import REGION, Trail

README = REPOSITORY / "airflow_provider_cloudtrail" / "mwaa" / "README.md"


# -- the same statements in three places -------------------------------------------------------------


def template():
    """Return the template; what its functions name is text such as ``!GetAtt TrailBucket.Arn``."""
    yaml = pytest.importorskip("yaml")

    class Loader(yaml.SafeLoader):
        pass

    def function(loader, suffix, node):
        if isinstance(node, yaml.ScalarNode):
            return f"!{suffix} {node.value}"
        return [f"!{suffix}", *(loader.construct_sequence(node, deep=True))]

    Loader.add_multi_constructor("!", function)
    return yaml.load(TEMPLATE.read_text(), Loader)


RESOURCES = {
    "!GetAtt TrailBucket.Arn": "arn:{partition}:s3:::{bucket}",
    "!Sub ${TrailBucket.Arn}/*": "arn:{partition}:s3:::{bucket}/*",
    "!GetAtt TrailKey.Arn": "{key}",
    "!GetAtt Queue.Arn": "{queue}",
    "!Sub arn:${AWS::Partition}:cloudtrail:${AWS::Region}:${AWS::AccountId}:trail/${TrailName}": "{trail}",
    "!Sub arn:${AWS::Partition}:athena:${AWS::Region}:${AWS::AccountId}:workgroup/${WorkGroup}": "{workgroup}",
    "!Sub arn:${AWS::Partition}:athena:${AWS::Region}:${AWS::AccountId}:datacatalog/AwsDataCatalog": "{data_catalog}",
    "!Sub arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}:catalog": "{glue}:catalog",
    "!Sub arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}:database/${GlueDatabase}": (
        "{glue}:database/{database}"
    ),
    "!Sub arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}:table/${GlueDatabase}/*": (
        "{glue}:table/{database}/*"
    ),
    "*": "*",
}
for folder in ("Staging", "Tables", "Results"):
    RESOURCES[f"!Sub arn:${{AWS::Partition}}:s3:::${{{folder}Folder}}/*"] = f"{{{folder.lower()}}}"
    first = ["!Select", 0, ["!Split", "/", f"!Ref {folder}Folder"]]
    bucket = ["!Sub", "arn:${AWS::Partition}:s3:::${Bucket}", {"Bucket": first}]
    RESOURCES[json.dumps(bucket)] = f"{{{folder.lower()}_bucket}}"


def test_template_has_one_policy_for_each_feature_with_the_statements_of_the_code():
    found = set()
    for name, resource in template()["Resources"].items():
        if resource["Type"] != "AWS::IAM::ManagedPolicy":
            continue
        feature = next(f for f in permissions.FEATURES if f"{f.title().replace('-', '')}Policy" == name)
        for entry in resource["Properties"]["PolicyDocument"]["Statement"]:
            assert entry["Effect"] == "Allow"
            named = entry["Resource"]
            place = RESOURCES[named if isinstance(named, str) else json.dumps(named)]
            found.add((entry["Sid"], feature, tuple(entry["Action"]), place))
    assert found == {tuple(statement) for statement in STATEMENTS}


def test_readme_has_the_statements_of_the_code():
    (block,) = [part.partition("```")[0] for part in README.read_text().split("```json\n")[1:] if '"Statement"' in part]
    statements = json.loads(block)["Statement"]
    places = permissions.Resources(
        bucket="my-trail-bucket",
        trail="arn:aws:cloudtrail:eu-west-1:111122223333:trail/mwaa-audit",
        queue="arn:aws:sqs:eu-west-1:111122223333:my-queue",
        staging="arn:aws:s3:::my-staging-bucket/folder/*",
        key="arn:aws:kms:eu-west-1:111122223333:key/my-key",
        workgroup="arn:aws:athena:eu-west-1:111122223333:workgroup/my-workgroup",
        data_catalog="arn:aws:athena:eu-west-1:111122223333:datacatalog/AwsDataCatalog",
        glue="arn:aws:glue:eu-west-1:111122223333",
        database="my_database",
        tables="arn:aws:s3:::my-lake/tables/*",
        results="arn:aws:s3:::my-results-bucket/athena/*",
    )
    expected = [
        {"Sid": s.sid, "Effect": "Allow", "Action": list(s.actions), "Resource": places.arn(s)} for s in STATEMENTS
    ]
    assert sorted(statements, key=lambda entry: entry["Sid"]) == sorted(expected, key=lambda entry: entry["Sid"])


# -- the template ------------------------------------------------------------------------------------


def test_template_is_clean(tmp_path):
    command = shutil.which("cfn-lint", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("cfn-lint is no part of a bare image")
    linted = tmp_path / "template.yaml"
    shutil.copy(TEMPLATE, linted)
    done = subprocess.run([command, "--include-checks", "I", "--", linted], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    # The check can fail.
    linted.write_text(TEMPLATE.read_text().replace("MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: often"))
    assert subprocess.run([command, linted], capture_output=True, check=False).returncode != 0


def test_template_is_printed(capsys):
    assert main(["template"]) == 0
    assert capsys.readouterr().out == TEMPLATE.read_text()


@pytest.mark.skipif(not installed("moto"), reason="needs moto's server")
def test_trail_of_the_template_passes_the_coverage_check(s3_server, monkeypatch):
    """Its selectors and its bucket are given to moto as CloudFormation would, then looked at as a user's trail is."""
    resources = template()["Resources"]
    properties, bucket = resources["Trail"]["Properties"], resources["TrailBucket"]["Properties"]
    services = {service: {"endpoint_url": s3_server.endpoint} for service in ("cloudtrail", "s3")}
    extra = {"region_name": REGION, "service_config": services}
    connection = {"conn_type": "aws", "login": "example", "password": "example", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT_READER", json.dumps(connection))
    made = Trail(s3_server.endpoint)
    try:
        selectors = [
            {"Name": entry["Name"], "FieldSelectors": entry["FieldSelectors"]}
            for entry in properties["AdvancedEventSelectors"]
        ]
        made.select(AdvancedEventSelectors=selectors)
        made.s3.put_public_access_block(
            Bucket=made.bucket, PublicAccessBlockConfiguration=bucket["PublicAccessBlockConfiguration"]
        )
        made.s3.put_bucket_versioning(Bucket=made.bucket, VersioningConfiguration=bucket["VersioningConfiguration"])
        (rule,) = bucket["LifecycleConfiguration"]["Rules"]
        days = template()["Parameters"]["RetentionDays"]["Default"]
        made.s3.put_bucket_lifecycle_configuration(
            Bucket=made.bucket,
            LifecycleConfiguration={
                "Rules": [
                    {
                        "ID": rule["Id"],
                        "Status": rule["Status"],
                        "Filter": {"Prefix": ""},
                        "Expiration": {"Days": days},
                        "NoncurrentVersionExpiration": {"NoncurrentDays": days},
                        "AbortIncompleteMultipartUpload": rule["AbortIncompleteMultipartUpload"],
                    }
                ]
            },
        )
        assert {finding["code"] for finding in made.check()} <= {"no_sns_topic"}
    finally:
        made.delete()
    assert properties["IsMultiRegionTrail"] is properties["EnableLogFileValidation"] is properties["IsLogging"] is True
    assert properties["KMSKeyId"] == "!GetAtt TrailKey.Arn"
    assert properties["SnsTopicName"] == "!Ref Topic"
