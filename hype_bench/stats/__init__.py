"""Arrays in, numbers out; nothing of this project is imported."""
