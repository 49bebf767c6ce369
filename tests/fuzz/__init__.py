"""What may come in from outside, thrown at the front doors in thousands."""
