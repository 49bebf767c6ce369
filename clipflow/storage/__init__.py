"""Objects in S3 and records in DynamoDB: the only place that talks to AWS."""
