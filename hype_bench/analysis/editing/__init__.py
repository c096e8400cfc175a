"""What soups and other edits of finished runs share: the runs, their pre-trained start, the record of the result."""
