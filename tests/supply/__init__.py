"""Licences and known vulnerabilities of the locked dependencies."""
