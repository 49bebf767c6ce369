"""The steps of the flows as retried tasks, which call clipflow."""
