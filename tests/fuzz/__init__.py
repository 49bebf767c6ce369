"""Fuzz tests of all external input."""
