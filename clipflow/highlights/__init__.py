"""The best moments of what is said: one question, asked of salience or of a language model."""
