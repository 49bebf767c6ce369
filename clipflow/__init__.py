"""The craft of clipflow: video, records and objects. Importable without Prefect."""

# Part of every checkpoint's fingerprint: raise it when the same input makes another output.
PIPELINE_VERSION = "2"
