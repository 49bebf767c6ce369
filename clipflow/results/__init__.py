"""The results of a job for people: pages, posters and tables."""
