"""Reframing: a crop of another shape that follows the face, as a path and as ffmpeg's filter."""
