"""The read side: requests, query vectors, retrievers, and loading the items of hits."""
