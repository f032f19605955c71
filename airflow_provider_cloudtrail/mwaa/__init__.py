"""
Deployment to an Amazon MWAA environment: ``python -m airflow_provider_cloudtrail.mwaa plan|deploy|status|verify``.

It runs where the AWS credentials are, on a laptop or in a pipeline, and needs boto3 and nothing of Airflow.
"""
