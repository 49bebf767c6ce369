"""What is said: the sound of a source, its words with their times, and subtitles of them."""
