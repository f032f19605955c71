"""Console links of the CloudTrail provider."""
