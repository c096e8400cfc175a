"""What reads or edits finished runs, one file each."""
