"""What is not in the two papers: one file per extension, with its source and its measured worth."""
