"""The shorts job's steps: read the config, transcribe, choose moments, cut them, render shorts."""
