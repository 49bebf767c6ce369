"""The process worker of a warm machine: `python -m deployments.warm` in a container of ECS."""
