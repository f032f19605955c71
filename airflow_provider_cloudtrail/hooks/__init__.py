"""Airflow hooks of the CloudTrail provider."""
