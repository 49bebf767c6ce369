"""What the outside sees, as types: events, records, steps, keys, times and errors. No I/O."""
