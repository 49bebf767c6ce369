"""A span of a stored video made into an object of its own: what clips and shorts share."""
