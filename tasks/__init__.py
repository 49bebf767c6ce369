"""One retried step each: fetch inputs, call clipflow, put outputs."""
