"""Airflow triggers of the CloudTrail provider."""
