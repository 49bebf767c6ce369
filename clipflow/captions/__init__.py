"""Captions: what is said, shown a few words at a time and burned into the picture."""
