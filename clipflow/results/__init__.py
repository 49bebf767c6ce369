"""The page beside a job's results: `index.html`, one file that needs nothing from elsewhere."""
