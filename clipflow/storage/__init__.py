"""Objects in S3 and records in DynamoDB. Nothing else in clipflow calls AWS."""
