"""The media, record and storage code of clipflow. It is importable without Prefect."""

# Part of every checkpoint's fingerprint: raise it when the same input makes another output.
PIPELINE_VERSION = "4"
