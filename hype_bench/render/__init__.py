"""The words, pictures and pages that tables become."""
