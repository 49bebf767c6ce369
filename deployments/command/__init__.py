"""`clipflow`, the command for a person with a file."""
