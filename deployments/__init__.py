"""Deployment to Prefect and AWS, and the whole stack on one machine."""
