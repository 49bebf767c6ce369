"""How Prefect and AWS are told, and all of it on one machine."""
