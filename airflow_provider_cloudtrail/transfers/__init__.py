"""Airflow transfer operators of the CloudTrail provider."""
