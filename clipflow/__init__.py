"""The media, record and storage code of clipflow. It is importable without Prefect."""

# Part of every checkpoint's fingerprint. Increase it if the same input results in another output.
PIPELINE_VERSION = "7"
