"""Captions: the spoken words, burned into the picture a few at a time."""
