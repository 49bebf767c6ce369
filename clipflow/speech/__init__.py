"""Speech recognition: a source's sound, its words with their times, and who says them."""
