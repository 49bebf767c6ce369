"""Subtitles: files of other programs read into words, and words written as cues."""
