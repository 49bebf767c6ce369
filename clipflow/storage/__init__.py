"""Objects in S3 and records in DynamoDB. No other package of clipflow calls AWS."""
