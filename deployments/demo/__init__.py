"""`make demo`: both jobs on a spoken sample, in a local stack of their own."""
