"""A package that adds a technique, a task and an analysis to hype_bench (docs/plugins.md)."""
