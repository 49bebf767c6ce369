"""The clip job's steps: find the sources, plan the cuts, extract, stitch."""
