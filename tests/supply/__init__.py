"""What clipflow is built of: the licences of all that is locked, and its known vulnerabilities."""
