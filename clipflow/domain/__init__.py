"""The types of events, records, steps, keys, times and errors. No I/O."""
