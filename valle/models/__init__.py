"""The models of the papers in pure torch: transformer, AR, NAR, sampling."""
