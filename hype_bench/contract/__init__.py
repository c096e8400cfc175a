"""What a technique is, and what it may know of its run."""
