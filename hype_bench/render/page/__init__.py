"""The report: one page that a person opens from disk, and a page for every run beside it."""
