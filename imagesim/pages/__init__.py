"""What pages are made of: similar products and regions for the template tags, the refinement of results, thumbnails."""
