"""The best moments of a transcript, chosen by salience or by a language model."""
