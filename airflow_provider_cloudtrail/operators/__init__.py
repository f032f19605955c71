"""Airflow operators of the CloudTrail provider."""
