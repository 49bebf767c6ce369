"""The CloudFormation templates in infra, and the stacks made of them."""
