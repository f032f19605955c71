"""A trail of moto's CloudTrail API with its bucket, and selectors for it."""

from __future__ import annotations

from functools import cache

from airflow_provider_cloudtrail.operators.coverage import CloudTrailCoverageCheckOperator

REGION = "eu-west-1"


def advanced(category, **conditions):
    """Return an advanced selector; ``eventName=("Equals", ...)``, with ``_`` for a dot in the field."""
    kind = [{"Field": "resources.type", "Equals": ["AWS::MWAA::Environment"]}] if category == "Data" else []
    fields = [{"Field": field.replace("_", "."), operator: values} for field, (operator, *values) in conditions.items()]
    return {"FieldSelectors": [{"Field": "eventCategory", "Equals": [category]}, *kind, *fields]}


MANAGEMENT = advanced("Management")


@cache
def boto_client(service, endpoint):
    import boto3

    return boto3.client(
        service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="example", aws_secret_access_key="example"
    )


class Trail:
    """A trail with a bucket, both in order as far as moto can tell."""

    name = "audit-coverage"

    def __init__(self, endpoint):
        self.cloudtrail, self.s3 = boto_client("cloudtrail", endpoint), boto_client("s3", endpoint)
        self.bucket = "example-trail-coverage"
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        self.s3.put_public_access_block(Bucket=self.bucket, PublicAccessBlockConfiguration=dict.fromkeys(blocks, True))
        self.arn = self.cloudtrail.create_trail(
            Name=self.name,
            S3BucketName=self.bucket,
            S3KeyPrefix="team",
            IsMultiRegionTrail=True,
            IsOrganizationTrail=True,
            EnableLogFileValidation=True,
            KmsKeyId="arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000",
        )["TrailARN"]
        self.cloudtrail.start_logging(Name=self.name)

    def select(self, **selectors):
        self.cloudtrail.put_event_selectors(TrailName=self.name, **selectors)

    def check(self, **arguments):
        task = CloudTrailCoverageCheckOperator(
            task_id="check", **{"trail_name": self.name, "fail_on": None, "aws_conn_id": "audit_reader", **arguments}
        )
        return task.execute({})

    def delete(self):
        self.cloudtrail.delete_trail(Name=self.name)
        self.s3.delete_bucket(Bucket=self.bucket)
