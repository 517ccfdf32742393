"""Training data: Kaldi data directories, corpora, tokenizing, alignment, and batches of similar duration."""
