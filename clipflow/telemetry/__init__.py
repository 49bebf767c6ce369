"""What a run says of itself: log lines, measured lines, spans. It knows nothing of Prefect."""
